"""Means of values per token: of the smallest, of all, and against others'."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from stillage.errors import ConfigError
from stillage.types import Array


def mean_of_lowest(
    values_T: Array, fraction: float = 0.2, *, count: int = 0, window: int = 1, stride: int = 1
) -> float:
    """Average the m smallest values, m = max(1, ceil(fraction T)), or `count` of them.

    All, if there are fewer. With window w > 1 the values are first averaged over windows of w,
    `stride` apart (n-gram Min-K); a sequence shorter than the window is one window. NaN without
    values or with a NaN. ConfigError unless 0 < fraction <= 1, count >= 0, window and stride >= 1.
    """
    if not 0 < fraction <= 1 or min(window, stride, count + 1) < 1:
        raise ConfigError(
            "The tail to average must hold at least one value and at most all.",
            f"fraction = {fraction}, count = {count}, window = {window}, stride = {stride}",
            "Use 0 < fraction <= 1, and whole numbers of at least 1 (count: 0 for the fraction).",
        )
    values = np.asarray(values_T, dtype=np.float64)
    if values.size == 0 or np.isnan(values).any():
        return math.nan
    if window > 1:
        values = np.lib.stride_tricks.sliding_window_view(values, min(window, values.size))[
            ::stride
        ].mean(axis=1)
    else:
        values = values[::stride]
    m = count or math.ceil(fraction * values.size - 1e-9)
    m = min(max(1, m), values.size)
    return float(np.partition(values, m - 1)[:m].mean())


def mean_or_nan(values_T: Array) -> float:
    """Average in float64; NaN, without a warning, where there is nothing to average."""
    return float(np.mean(values_T, dtype=np.float64)) if len(values_T) else math.nan


def mean_above(values_T: Array, others: Iterable[Array]) -> float:
    """Subtract the mean of the others' own means from the mean; NaN without others.

    The mean of the differences: others that equal the values give exactly 0. NaN too where one is
    empty.
    """
    own = mean_or_nan(values_T)
    differences = [own - mean_or_nan(other) for other in others]
    return float(np.mean(differences)) if differences else math.nan
