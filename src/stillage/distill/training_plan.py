"""The plan of a training: what each step reads, when it validates and ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stillage.distill.batches import records_of_step, steps_per_epoch
from stillage.distill.monitor import Monitor
from stillage.distill.task import TrainingTask
from stillage.run.config import TrainConfig
from stillage.types import Example


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All that stays the same from a training's first step to its last."""

    task: TrainingTask
    examples: tuple[Example, ...]  # the records' texts or the teacher's, in canonical order
    total: int  # optimiser steps; where the budget is trained tokens, a guess
    row_tokens: int  # more than 0: several records in a row of so many tokens
    folder: Path
    identity: dict[str, Any]  # what a checkpoint must agree with
    should_stop: Callable[[], bool]
    monitor: Monitor | None = None

    @property
    def options(self) -> TrainConfig:
        """The options of the task."""
        return self.task.options

    @property
    def per_epoch(self) -> int:
        """Optimiser steps in one pass over the records."""
        return steps_per_epoch(len(self.examples), self.options.batch_size)

    @property
    def record_ids(self) -> list[str]:
        """The different ids of the examples, in order."""
        return list(dict.fromkeys(example.record_id for example in self.examples))

    def step_examples(self, step: int) -> list[Example]:
        """The examples of an optimiser step, all processes together."""
        size, seed = self.options.batch_size, self.task.seed
        return [self.examples[row] for row in records_of_step(step, len(self.examples), size, seed)]

    def progress(self, step: int, tokens: int) -> float:
        """What is done, in steps of `total`: by trained tokens, if those end the training."""
        budget = self.options.max_trained_tokens
        return self.total * tokens / budget if budget else step

    def is_over(self, step: int, tokens: int) -> bool:
        """Whether the budget is spent."""
        return self.progress(step, tokens) >= self.total

    def expected_steps(self, step: int, tokens: int) -> int:
        """Steps that the training will have had, judging by those it has made."""
        budget = self.options.max_trained_tokens
        return max(step, math.ceil(step * budget / tokens)) if budget and tokens else self.total

    def validates_after(self, done: int, *, last: bool) -> bool:
        """Whether a validation follows `done` steps: 0, the last, every validate_every."""
        if not self.task.validation or not self.options.validate_every:
            return False
        interval = self.options.validate_every * self.per_epoch
        return last or done == 0 or math.floor(done / interval) > math.floor((done - 1) / interval)
