"""Which numbers a setting may be: one table, asked before anything is loaded."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, did_you_mean
from stillage.types import PARTS

if TYPE_CHECKING:
    from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The finite numbers from low to high; above and below: without low, without high."""

    low: float
    high: float = math.inf
    above: bool = False
    below: bool = False

    def __contains__(self, value: float) -> bool:
        """Whether the number is in the range; NaN and infinity never are."""
        enough = self.low < value if self.above else self.low <= value
        little = value < self.high if self.below else value <= self.high
        return enough and little and math.isfinite(value)

    def __str__(self) -> str:
        """The range in words: at least 0 and below 1."""
        words = f"{'more than' if self.above else 'at least'} {self.low:g}"
        if self.high == math.inf:
            return words
        return f"{words} and {'below' if self.below else 'at most'} {self.high:g}"


ANY, SOME = Range(low=0), Range(low=1)
SHARE = Range(low=0, high=1)
PART = Range(low=0, high=1, above=True)
BELOW_ONE = Range(low=0, high=1, below=True)
INSIDE = Range(low=0, high=1, above=True, below=True)
POSITIVE = Range(low=0, above=True)

TRAIN: Mapping[str, Range] = {
    "epochs": ANY,
    "max_steps": ANY,
    "max_trained_tokens": ANY,
    "batch_size": SOME,
    "micro_batch_size": ANY,
    "lr_peak": ANY,
    "lr_final": ANY,
    "warmup_fraction": SHARE,
    "weight_decay": ANY,
    "beta1": BELOW_ONE,
    "beta2": BELOW_ONE,
    "clip_norm": ANY,
    "validate_every": ANY,
    "keep_prompts": SOME,
    "checkpoint_every_s": ANY,
    "keep_checkpoints": ANY,
}
MODEL: Mapping[str, Range] = {
    "layers": SOME,
    "width": SOME,
    "heads": SOME,
    "context": SOME,
    "dropout": BELOW_ONE,
    "prune_teacher_to": ANY,
    "lora_rank": ANY,
    "lora_alpha": ANY,
    "lora_dropout": BELOW_ONE,
}
GROUPS: Mapping[str, Mapping[str, Range]] = {
    "": {"jobs": SOME, "threads": ANY},
    "data": {
        "people": SOME,
        "public_answers": SHARE,
        "max_tokens": SOME,
        "max_prompt_tokens": ANY,
        "max_bad_lines": ANY,
    },
    "tokenizer": {"vocab_size": SOME},
    "teacher": MODEL,
    "student": MODEL,
    "teacher_train": TRAIN,
    "student_train": TRAIN,
    "distill": {"init_epochs": ANY},
    "lm": {"coef": ANY, "batch_size": SOME, "block_tokens": SOME},
    "generate": {
        "max_new_tokens": ANY,
        "sampling_temperature": ANY,
        "top_p": PART,
        "top_k": ANY,
        "records": ANY,
        "batch_tokens": SOME,
    },
    "audit": {
        "min_k_fraction": PART,
        "min_k_count": ANY,
        "min_k_window": SOME,
        "neighbours": SOME,
        "neighbour_share": PART,
        "neighbour_top_k": SOME,
        "prefix_records": ANY,
        "mope_copies": SOME,
        "mope_sigma": ANY,
        "dc_pdd_cap": POSITIVE,
        "fprs": INSIDE,
        "harmless_auc": Range(low=0.5, high=1, above=True, below=True),
        "harmless_tpr": INSIDE,
        "extract_tokens": SOME,
        "extract_temperature": ANY,
        "extract_top_k": ANY,
        "extract_top_p": PART,
        "self_prompt_texts": ANY,
        "self_prompt_epochs": ANY,
        "exposure_records": ANY,
        "exposure_candidates": SOME,
        "max_records": ANY,
        "level": INSIDE,
        "block_records": ANY,
        "signal_records": ANY,
        "dp_guesses": ANY,
        "dp_delta": BELOW_ONE,
        "batch_tokens": SOME,
    },
    "report": {"examples": ANY},
}
"""Group of settings -> name -> what it may be; for a list, what each of its numbers may be."""


def require(name: str, value: float, wanted: Range) -> None:
    """ConfigError, with what is wanted, unless the number is in the range."""
    if value not in wanted:
        raise ConfigError(
            f"{name} must be {wanted}.", f"{name} = {value:g}", f"Choose a value that is {wanted}."
        )


def check_group(group: object, ranges: Mapping[str, Range], prefix: str = "") -> None:
    """Raise ConfigError for the first number of a group that is out of its range.

    prefix: stands before its name.
    """
    for name, wanted in ranges.items():
        value = getattr(group, name)
        for number in value if isinstance(value, tuple) else (value,):
            require(f"{prefix}{name}", number, wanted)


def check_shares(shares: Mapping[str, float]) -> None:
    """Raise ConfigError for an unknown part, a wrong share, and a wrong sum of shares."""
    for part in shares:
        if part not in PARTS:
            fix = did_you_mean(part, PARTS, f"Parts are: {', '.join(PARTS)}.")
            what = "data.shares names a part that does not exist."
            raise ConfigError(what, f"unknown: {part}", fix)
    total = sum(shares.values())
    if any(share not in SHARE for share in shares.values()) or not 0 < total <= 1 + 1e-9:
        values = ", ".join(f"{part} {share:g}" for part, share in shares.items())
        what = "data.shares must be between 0 and 1, and add up to 1 at most."
        raise ConfigError(what, f"{values} (sum {total:g})", "Correct the shares.")


def check_numbers(config: Config) -> None:
    """Raise ConfigError for the first wrong number of a Config, by its full name.

    Two budgets of one training are one too many.
    """
    check_shares(config.data.shares)
    for name, ranges in GROUPS.items():
        check_group(getattr(config, name) if name else config, ranges, f"{name}." if name else "")
    for name in ("teacher_train", "student_train"):
        steps, tokens = getattr(config, name).max_steps, getattr(config, name).max_trained_tokens
        if steps and tokens:
            values = f"{name}.max_steps: {steps}; {name}.max_trained_tokens: {tokens}"
            what = "A training ends after so many steps or after so many tokens."
            raise ConfigError(what, values, "Give one of them.")
