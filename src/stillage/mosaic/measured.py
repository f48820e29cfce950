"""Train a model, measure its canaries, and let its weights go."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError
from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.recital import PROMPT_TOKENS, recite
from stillage.mosaic.released_scores import released_scores
from stillage.mosaic.scoring import ScoreSettings, check_attacks, score_canaries
from stillage.mosaic.train_condition import monitor_table
from stillage.run.folder import remove, write_table
from stillage.types import Party

if TYPE_CHECKING:
    import pyarrow as pa

SCORES_FILE, MONITOR_FILE, ANSWERS_FILE = "scores.parquet", "monitor.parquet", "answers.parquet"
WEIGHTS = ("model", "best", "last", "base")
"""Folders that a training leaves, and that the tables do not need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionMeasures:
    """What is asked of a trained model."""

    canaries: pa.Table
    attacks: tuple[str, ...] = ("loss",)  # of the audit; empty: the five scores as released
    settings: ScoreSettings = field(default_factory=ScoreSettings)
    others: Mapping[Party, ModelReader] = field(default_factory=dict)
    """Whom attacks may compare with: reference, outside, initial; usually the model before it met
    a canary, loaded apart from the one that is trained in place."""
    recites: bool = True
    prompt_tokens: int = PROMPT_TOKENS

    def check(self) -> None:
        """Refuse what could not be scored, before anything is trained (ConfigError)."""
        if self.attacks:
            check_attacks(self.attacks, list(self.others), self.settings.lacking)
        elif "reference" not in self.others:
            what = "The released scores compare with a reference model."
            raise ConfigError(what, "reference: none", "Give audit.reference, or a base model.")


def train_and_measure(
    train: Callable[[], object],
    start: ModelReader,
    measured: ConditionMeasures,
    folder: Path,
    *,
    keeps_model: bool,
) -> None:
    """Train into the folder, write the tables, and remove the weights unless kept.

    folder/{scores, monitor, answers}.parquet; each is whole or not there, and what is there is not
    made again. train() trains `start`, and writes folder/model; at once where it did so before.
    """
    from stillage.models.load import load_on_device
    from stillage.run.config import ModelConfig

    others = measured.others.values()
    assert all(other.model is not start.model for other in others), "it is trained in place"
    names = [SCORES_FILE, MONITOR_FILE, *([ANSWERS_FILE] if measured.recites else [])]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        measured.check()
        train()
        dtype = "bfloat16" if str(start.model.dtype) == "torch.bfloat16" else "float32"
        source = ModelConfig(path=str(folder / "model"), dtype=dtype)
        model = load_on_device(source, start.tokenizer)
        target = ModelReader(model=model, tokenizer=start.tokenizer)
        makers: Mapping[str, Callable[[], pa.Table]] = {
            SCORES_FILE: lambda: scores_by(target, measured),
            MONITOR_FILE: lambda: monitor_table(folder),
            ANSWERS_FILE: lambda: recite(
                target,
                measured.canaries,
                prompt_tokens=measured.prompt_tokens,
                batch_tokens=measured.settings.audit.batch_tokens,
            ),
        }
        for name in missing:
            write_table(folder / name, makers[name]())
    if not keeps_model:
        for name in WEIGHTS:
            remove(folder / name)


def scores_by(target: ModelReader, measured: ConditionMeasures) -> pa.Table:
    """Score the canaries by the attacks named, or as released."""
    settings = measured.settings
    if measured.attacks:
        others = measured.others
        return score_canaries(target, measured.canaries, measured.attacks, settings, others)
    reference = measured.others["reference"]
    size = settings.audit.batch_tokens
    return released_scores(target, measured.canaries, reference, batch_tokens=size)
