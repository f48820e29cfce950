"""Paired differences as results, with p-values that allow for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from stillage.functional.multiplicity import holm
from stillage.functional.stats import PairedTest
from stillage.types import Result


def paired_results(
    rows: Sequence[Result], tests: Sequence[PairedTest], unit: str = "difference of AUC"
) -> list[Result]:
    """Fill in the rows' differences, with p and Holm's p over all of them."""
    if not tests:
        return []
    adjusted = holm(np.array([test.p for test in tests])).tolist()
    filled = []
    for row, test, p in zip(rows, tests, adjusted, strict=True):
        row = replace(row, value=test.difference, low=test.low, high=test.high, unit=unit)
        filled.append(replace(row, p=float(test.p), p_adjusted=p, tests=len(tests)))
    return filled
