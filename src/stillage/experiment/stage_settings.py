"""Groups of settings as parts of a stage's key."""

from __future__ import annotations

from typing import Any

from stillage.experiment.audit_stage import HARMLESS
from stillage.run.config import TrainConfig
from stillage.run.parse import to_plain

NOT_THE_AUDITS = (
    *HARMLESS,
    *("strict", "measures", "params", "self_prompt_texts", "self_prompt_epochs"),
    *("blocks", "block_records", "signal_records", "exposure_records", "exposure_candidates"),
    *("dp", "dp_attack", "dp_guesses", "dp_delta"),
)
"""Settings of `audit` that the attacks do not read: those of measures, of trainings, of speed."""
NOT_DECIDING = ("checkpoint_every_s", "gradient_checkpointing")
"""Settings of a training that change no result."""


def as_plain(value: object) -> dict[str, Any]:
    """Return a group of settings as a JSON-able dict."""
    group = to_plain(value)
    assert isinstance(group, dict)
    return group


def without(group: object, *names: str) -> dict[str, Any]:
    """Return a group of settings, less those that change no result."""
    return {name: value for name, value in as_plain(group).items() if name not in names}


def train_key(options: TrainConfig) -> dict[str, Any]:
    """Return the settings of a training that decide its result."""
    return without(options, *NOT_DECIDING)
