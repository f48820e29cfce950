"""What an audit is given: settings, models, and what a run recorded of trainings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.queries import ScoringModel
from stillage.data.tokenise import make_examples
from stillage.models.limits import shortest_context, weights_key
from stillage.run.audit_config import AuditConfig
from stillage.run.config import DataConfig, ModelConfig
from stillage.run.progress import Doing, Progress, watched
from stillage.types import Noise, Result

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSettings:
    """How an audit is made, and how its models read the records."""

    audit: AuditConfig = field(default_factory=AuditConfig)
    data: DataConfig = field(default_factory=DataConfig)
    """Layout, limits, needed part and groups of the records."""
    seed: int = 0
    base: Result  # what every result says of the run
    cache: Path  # where token statistics are kept, by content
    stage: str = "audit"
    progress: Progress = lambda stage, facts: None

    def doing(self, model: str) -> Doing:
        """Tell how far the loops over records are that concern a model."""
        return watched(partial(self.progress, self.stage), model)

    @property
    def noise(self) -> Noise:
        """The noise that MoPe puts on the weights."""
        return Noise(
            sigma=self.audit.mope_sigma,
            copies=self.audit.mope_copies,
            relative=self.audit.mope_noise == "relative",
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditModel:
    """A finished model that an audit may ask; it is loaded when its turn comes."""

    name: str
    source: ModelConfig  # where its weights are
    load_tokenizer: Callable[[], PreTrainedTokenizerFast]
    is_trained: bool = False  # in this run, which wrote down on what
    load_start: Callable[[], PreTrainedModel] | None = None
    """The weights that its training started from; None where they are not known."""

    def load(self, tokenizer: PreTrainedTokenizerFast) -> PreTrainedModel:
        """Load the weights, on the best device."""
        from stillage.models.load import load_on_device

        return load_on_device(self.source, tokenizer)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditModels:
    """The models of an audit."""

    audited: tuple[AuditModel, ...]
    """Those that the attacks are tried on, the reference from elsewhere among them."""
    self_prompted: Mapping[str, AuditModel] = field(default_factory=dict)
    """Audited model -> the model that was taught by its texts."""
    shadows: Sequence[AuditModel] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingFacts:
    """What a run wrote down of its trainings, for the checks; empty where it had none."""

    met: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Stage -> the ids of the records that it learned from."""
    fingerprints: Callable[[], tuple[dict[str, str], dict[str, str]]] | None = None
    """File -> sha256 as the stages wrote it, and as it is now; None where nothing was trained."""
    learns_public: bool = False  # a student was trained on the public records
    reads_corpus: bool = False  # students read plain text beside their records
    load_untrained: Callable[[PreTrainedTokenizerFast], PreTrainedModel] | None = None
    """The student as it was before any training; None: `why_no_untrained`."""
    why_no_untrained: str = "no student was trained here"


def scoring_model(model: AuditModel, settings: AuditSettings) -> ScoringModel:
    """Load a model, ready to be asked under the settings' template and limits."""
    tokenizer = model.load_tokenizer()
    loaded = model.load(tokenizer)
    return as_scoring(loaded, tokenizer, weights_key(model.source), model.name, settings)


def as_scoring(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    key: str,
    name: str,
    settings: AuditSettings,
) -> ScoringModel:
    """Prepare a model in memory to be asked. key: names its weights in the cache."""
    encode = partial(
        make_examples,
        tokenizer=tokenizer,
        data=settings.data,
        context_tokens=shortest_context(model),
        what=f"{name}, {settings.stage}",
    )
    return ScoringModel(
        model=model,
        tokenizer=tokenizer,
        encode=encode,
        key=key,
        cache=settings.cache,
        batch_tokens=settings.audit.batch_tokens,
        doing=settings.doing(name),
    )
