"""Variances that are known only so well; intervals and tests from sums of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.types import Array

LOWER_PART = 0.2
"""Seeds scatter beyond their records above this lower quantile of what the records alone give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """An estimated variance, and its degrees of freedom; inf: as good as known."""

    variance: float
    df: float = math.inf


def half_width(parts: Sequence[Scatter], alpha: float) -> float:
    """Compute half a two-sided interval at 1 - alpha for a sum of independent errors.

    sqrt(sum_i t_i^2 v_i), t_i Student's quantile at the degrees of freedom of v_i. One pooled
    variance with Satterthwaite's degrees of freedom is too short where a part has one or two of
    them and comes out small by chance. Source: Howe 1974.
    """
    squares = [
        _quantile(part.df, alpha) ** 2 * part.variance for part in parts if part.variance > 0
    ]
    return math.sqrt(sum(squares))


def two_sided_p(difference: float, parts: Sequence[Scatter]) -> float:
    """Find the alpha at which `half_width` reaches the difference."""
    from scipy.optimize import brentq
    from scipy.special import ndtr, stdtr

    alone = [part for part in parts if part.variance > 0]
    if any(math.isinf(part.variance) for part in alone):
        return 1.0
    if len(alone) == 1:
        z, df = -abs(difference) / math.sqrt(alone[0].variance), alone[0].df
        return 2 * float(ndtr(z) if math.isinf(df) else stdtr(df, z))
    if half_width(alone, math.exp(-300)) <= abs(difference):
        return 0.0
    log_p = brentq(lambda x: half_width(alone, math.exp(x)) - abs(difference), -300, 0, xtol=1e-9)
    return math.exp(float(log_p))  # type: ignore[arg-type]


def scatter_of_seeds(values_S: Array, own_variance: float) -> Scatter:
    """Estimate how far the mean over seeds errs beyond what their records explain.

    (s2 - k v) / S where positive, with S - 1 degrees of freedom: s2 the variance of the seeds'
    values, v = own_variance what s2 would be on average if only the records scattered, and k the
    lower 20 % point of chi-square(S - 1) / (S - 1): with k = 1 a scatter that came out small by
    chance would be lost, with k = 0 seeds that do not differ would widen the interval.
    """
    from scipy.special import chdtri

    count = len(values_S)
    if count < 2:
        return Scatter(variance=0.0)
    part = float(chdtri(count - 1, 1 - LOWER_PART)) / (count - 1)
    excess = float(np.var(values_S, ddof=1)) - part * own_variance
    return Scatter(variance=max(0.0, excess) / count, df=count - 1)


def _quantile(df: float, alpha: float) -> float:
    """Compute Student's two-sided quantile; the normal one for many degrees."""
    from scipy.special import ndtri, stdtrit

    return -float(ndtri(alpha / 2) if df > 1e7 else stdtrit(df, alpha / 2))
