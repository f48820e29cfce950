"""What a training is given: all that decides its result."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillage.run.config import TrainConfig
from stillage.types import Example, Method, Rollout, TeacherRollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.corpus.lm_text import PlainTextLoss


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """All that decides a trained model; `training_identity` hashes it."""

    student: PreTrainedModel
    tokenizer: PreTrainedTokenizerFast
    method: Method
    params: object  # an instance of method.params
    examples: Sequence[Example]  # tokenised records, in any order
    validation: Sequence[Example]
    options: TrainConfig
    seed: int
    teacher: PreTrainedModel | None = None
    corpus: PlainTextLoss | None = None  # plain text whose loss is added

    @property
    def rollout(self) -> Rollout:
        """Who writes the texts that are trained."""
        return self.method.rollout(self.params)

    @property
    def models(self) -> dict[str, PreTrainedModel]:
        """The models that take part, by name."""
        teacher = {} if self.teacher is None else {"teacher": self.teacher}
        return {"student": self.student, **teacher}

    @property
    def target_teacher(self) -> PreTrainedModel | None:
        """The teacher whose distributions are targets; None where it only writes."""
        rollout = self.rollout
        only_writes = isinstance(rollout, TeacherRollout) and not rollout.soft_targets
        return None if only_writes else self.teacher
