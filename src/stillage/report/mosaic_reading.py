"""Which reading of a point can be believed, and how its worth is said."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stillage.report.mosaic_view import MosaicView, Row
from stillage.types import Result

UNJUDGED = {"flat", "not_rising", "not_judged"}
"""Flags of a point whose curve of exact copies says nothing."""
MISREAD = {"falling_start", "falling_end"}
"""Flags of a point where the published reading takes a falling curve for a rising one."""
BELOW = {"clamped": "less trace", "flat_start": "no more trace"}
"""Flags of a point that is read as one copy -> how its trace compares with that."""
TO_WHOLE = ", which cannot be told from nothing nor from a whole copy"
TO_NOTHING = ", which cannot be told from nothing"
ZERO = 0.005  # what is written as 0.00


@dataclass(frozen=True, slots=True, kw_only=True)
class PointReading:
    """What a point is worth, by the reading that can be believed."""

    rho: Result
    why: str = ""  # the isotonic reading was taken; empty: as published
    below: str = ""  # how its trace compares with one exact copy's, where reading stops at 0
    is_least: bool = False  # the curve is level at its end: it may be any more

    @property
    def doubt(self) -> str:
        """What the limits do not exclude, as the end of a clause."""
        if math.isnan(self.rho.low) or self.rho.low > 0:
            return ""
        return TO_NOTHING if self.rho.high < 1 else TO_WHOLE

    @property
    def by(self) -> str:
        """The name of the reading."""
        return "isotonic reading" if self.why else "published procedure"


def is_judged(row: Row) -> bool:
    """Whether a point's curve of exact copies can be read."""
    return not UNJUDGED.intersection(row["flags"])


def are_apart(row: Row) -> bool:
    """Whether the intervals of the two readings have nothing in common."""
    ends = [row[f"{name}_{end}"] for name in ("rho", "rho_isotonic") for end in ("low", "high")]
    low, high, other_low, other_high = ends
    return low > other_high or other_low > high  # an end that is missing lies beyond all


def is_misread(row: Row) -> bool:
    """Whether the published reading of a point is not to be believed."""
    return bool(MISREAD.intersection(row["flags"])) or are_apart(row)


def is_sound(row: Row) -> bool:
    """Whether what a point is worth, as published, says what it seems to."""
    return is_judged(row) and not is_misread(row)


def reading(view: MosaicView, row: Row) -> PointReading:
    """Read a point as published, or isotonically where that is not to be believed."""
    flags, published = set(row["flags"]), view.result(row, "rho")
    takes_isotonic = is_misread(row) and not math.isnan(row["rho_isotonic"])
    rho = view.result(row, "rho_isotonic") if takes_isotonic else published
    why = ""
    if takes_isotonic:
        why = f"the published reading, {published.value:.2f}, "
        falls = MISREAD & flags
        why += "counts a falling curve as a rising one" if falls else "lies outside its limits"
        flags |= {flag.removeprefix("isotonic_") for flag in flags}
    below = next((words for flag, words in BELOW.items() if flag in flags), "")
    is_least = takes_isotonic and "flat_end" in flags
    stops = below if rho.value < ZERO else ""
    return PointReading(rho=rho, why=why, below=stops, is_least=is_least)
