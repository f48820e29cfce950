"""Rho by distance as a run measured it, for `stillage corpus policy --rho`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

UNJUDGED = frozenset(("not_judged", "falling_start", "falling_end"))
"""Flags of points whose exact curve says nothing, or says two things."""
REPLACEMENT = "replacement"
"""The experiment whose points lie at one distance each."""


def measured_worth(
    points: Sequence[Mapping[str, Any]], attack: str, length: int
) -> dict[str, list[float]] | None:
    """Return {"distance", "rho"} of replaced tokens; None without points.

    Distances are relative to `length`. points: rows of table_columns.POINTS. Those whose curve
    cannot be judged are left out; rho is cut at 0, as no near-copy is worth less than nothing.
    """
    rows = sorted(
        (row["levenshtein"] / length, row["rho"])
        for row in points
        if (row["experiment"], row["attack"]) == (REPLACEMENT, attack)
        and not UNJUDGED.intersection(row["flags"])
        and is_number(row["levenshtein"])
        and is_number(row["rho"])
    )
    curve = {distance: max(0.0, rho) for distance, rho in rows}
    return {"distance": list(curve), "rho": list(curve.values())} if curve else None


def is_number(value: float | None) -> bool:
    """Tell whether a value of a row is there."""
    return value is not None and math.isfinite(value)
