"""The difference of two shares that were counted on the same records."""

from __future__ import annotations

import math

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.types import Array


def paired_proportions(first_R: Array, second_R: Array, level: float = 0.95) -> Interval:
    """Share of the first minus share of the second, records paired, with an interval that is no point at equality.

    first_R, second_R bool[R]. With b records that only the first has right and c that only the second has, of R:
    value (b - c) / R; limits d +- z sqrt((p + q - d^2) / (R + 2)), p = (b + 1) / (R + 2), q = (c + 1) / (R + 2), d = p - q,
    cut to [-1, 1]. DataError without records, or for arrays of different length. Source: Bonett and Price 2012.
    """
    from scipy.special import ndtri

    alpha = check_level(level)
    first, second = (np.asarray(values, dtype=bool) for values in (first_R, second_R))
    if not first.size or first.size != second.size:
        raise DataError(
            "Paired shares need the same records on both sides.",
            f"records: {first.size} and {second.size}",
            "Check that both models answered all of them.",
        )
    only_first, only_second = int((first & ~second).sum()), int((~first & second).sum())
    p, q = ((count + 1) / (first.size + 2) for count in (only_first, only_second))
    half = float(ndtri(1 - alpha / 2)) * math.sqrt((p + q - (p - q) ** 2) / (first.size + 2))
    value = (only_first - only_second) / first.size
    return Interval(value=value, low=max(-1.0, p - q - half), high=min(1.0, p - q + half), level=level)
