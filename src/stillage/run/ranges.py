"""Which numbers a setting may be: at least 0, or what a table here says."""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass

from stillage.errors import ConfigError, did_you_mean
from stillage.run.config import Config
from stillage.run.flags import setting_kinds
from stillage.types import PARTS


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

FREE = ("seed", "audit.shadows", "mosaic.pretrain_seed")
"""Settings that may be any number; shadows come in pairs, as audit.design.check_count says."""
Narrower = Mapping[Range, tuple[str, ...]]
OF_MODEL: Narrower = {
    SOME: ("layers", "width", "heads", "context"),
    BELOW_ONE: ("dropout", "lora_dropout"),
}
OF_TRAINING: Narrower = {
    SOME: ("batch_size", "keep_prompts"),
    SHARE: ("warmup_fraction",),
    BELOW_ONE: ("beta1", "beta2"),
}
NARROWER: Mapping[str, Narrower] = {
    "": {SOME: ("jobs",)},
    "data": {SOME: ("people", "max_tokens"), SHARE: ("public_answers",)},
    "tokenizer": {SOME: ("vocab_size",)},
    "teacher": OF_MODEL,
    "student": OF_MODEL,
    "teacher_train": OF_TRAINING,
    "student_train": OF_TRAINING,
    "lm": {SOME: ("batch_size", "block_tokens")},
    "generate": {SOME: ("batch_tokens",), PART: ("top_p",)},
    "audit": {
        SOME: (
            *("min_k_window", "neighbours", "neighbour_top_k", "mope_copies"),
            *("extract_tokens", "exposure_candidates", "batch_tokens"),
        ),
        PART: ("min_k_fraction", "neighbour_share", "extract_top_p"),
        POSITIVE: ("dc_pdd_cap",),
        INSIDE: ("fprs", "harmless_tpr", "level"),
        BELOW_ONE: ("dp_delta",),
        Range(low=0.5, high=1, above=True, below=True): ("harmless_auc",),
    },
    "mosaic": {
        Range(low=2): ("copies", "block_tokens"),
        SOME: (
            *("hosts", "pretrain_batch_size", "student_windows", "student_prompt_tokens"),
            *("student_response_tokens", "resamples"),
        ),
        POSITIVE: ("pretrain_lr",),
    },
    "mosaic.canaries": {
        SOME: ("members", "nonmembers", "tries"),
        Range(low=2): ("length",),
        SHARE: ("max_jaccard",),
        PART: ("top_p",),
    },
}
"""Group of settings -> the numbers in it that may be less than ANY, by what they may be."""


def ranges_by_group() -> dict[str, dict[str, Range]]:
    """Give every number among the settings its range; a list's is that of each in it."""
    found: dict[str, dict[str, Range]] = {}
    for path, kind in setting_kinds().items():
        group, _, name = path.rpartition(".")
        if path not in FREE and {kind, *typing.get_args(kind)[:1]} & {int, float}:
            narrower = NARROWER.get(group, {}).items()
            wanted = next((one for one, names in narrower if name in names), ANY)
            found.setdefault(group, {})[name] = wanted
    return found


GROUPS = ranges_by_group()
TRAIN = GROUPS["student_train"]


def check_group(group: object, ranges: Mapping[str, Range], prefix: str = "") -> None:
    """ConfigError for the first number out of range; prefix: stands before its name."""
    for name, wanted in ranges.items():
        value = getattr(group, name)
        for number in value if isinstance(value, tuple) else (value,):
            if number not in wanted:
                what, fix = f"{prefix}{name} must be {wanted}.", f"Choose a value that is {wanted}."
                raise ConfigError(what, f"{prefix}{name} = {number:g}", fix)


def check_shares(shares: Mapping[str, float]) -> None:
    """ConfigError for an unknown part, a wrong share, and a wrong sum of shares."""
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
    """ConfigError for the first wrong number, and for two budgets of one training."""
    check_shares(config.data.shares)
    for name, ranges in GROUPS.items():
        group = functools.reduce(getattr, name.split("."), config) if name else config
        check_group(group, ranges, f"{name}." if name else "")
    for name in ("teacher_train", "student_train"):
        steps, tokens = getattr(config, name).max_steps, getattr(config, name).max_trained_tokens
        if steps and tokens:
            values = f"{name}.max_steps: {steps}; {name}.max_trained_tokens: {tokens}"
            what = "A training ends after so many steps or after so many tokens."
            raise ConfigError(what, values, "Give one of them.")
