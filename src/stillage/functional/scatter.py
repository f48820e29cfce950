"""Variances known only so well: of means of clusters, of seeds, and of their sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.types import Array

LOWER_PART = 0.2
"""Seeds scatter beyond their records above this lower quantile of what the records alone give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedVariance:
    """An estimated variance, and its degrees of freedom; inf: as good as known."""

    variance: float
    df: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One class of records by cluster: its share, its mean, and that mean's variance."""

    share_G: Array
    mean_G: Array
    tau_G: Array
    within: float  # the variance within clusters
    between: float  # the part of the variance that a cluster's records share


def half_width(parts: Sequence[EstimatedVariance], alpha: float) -> float:
    """Compute half a two-sided interval at 1 - alpha for a sum of independent errors.

    sqrt(sum_i t_i^2 v_i), t_i Student's quantile at the degrees of freedom of v_i. One pooled
    variance with Satterthwaite's freedom is too short where a part that has one or two degrees
    comes out small by chance. Source: Howe 1974.
    """
    squares = [
        _quantile(part.df, alpha) ** 2 * part.variance for part in parts if part.variance > 0
    ]
    return math.sqrt(sum(squares))


def two_sided_p(difference: float, parts: Sequence[EstimatedVariance]) -> float:
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


def scatter_of_seeds(values_S: Array, own_variance: float) -> EstimatedVariance:
    """Estimate how far the mean over seeds errs beyond what their records explain.

    (s2 - k v) / S where positive, with S - 1 degrees of freedom: s2 the variance of the seeds'
    values, v = own_variance what s2 would be on average if only the records scattered, and k the
    lower 20 % point of chi-square(S - 1) / (S - 1): with k = 1 a scatter that came out small by
    chance would be lost, with k = 0 seeds that do not differ would widen the interval.
    """
    from scipy.special import chdtri

    count = len(values_S)
    if count < 2:
        return EstimatedVariance(variance=0.0)
    part = float(chdtri(count - 1, 1 - LOWER_PART)) / (count - 1)
    excess = float(np.var(values_S, ddof=1)) - part * own_variance
    return EstimatedVariance(variance=max(0.0, excess) / count, df=count - 1)


def clustered_scatter(
    values_N: Array, groups_N: Array, sides: Sequence[Array] | None = None
) -> EstimatedVariance:
    """Estimate the variance of a sum of means, one for each side of the records.

    With u_g a cluster's part of the sum's error, variance = sum_g u_g^2 * E[true variance] /
    E[sum_g u_g^2] and, by Satterthwaite, df = E[sum]^2 / (Var[sum] / 2): expectations under a
    working model in which the records of a cluster share the part rho of their variance, 1 -
    (variance within clusters) / (variance of a cluster's record). For equal clusters of one side: G
    / (G - 1) and G - 1. groups_N: int from 0; sides: bool[N] each, disjoint; None: one. Variance
    inf where a side has one cluster. Sources: Bell and McCaffrey 2002; Imbens and Kolesar 2016.
    """
    sides = [np.ones(values_N.size, dtype=bool)] if sides is None else sides
    parts = [_side(values_N[side], groups_N[side], int(groups_N.max()) + 1) for side in sides]
    if any((part.share_G > 0).sum() < 2 for part in parts):
        return EstimatedVariance(variance=math.inf)
    errors_G = sum((part.share_G * part.mean_G for part in parts), np.zeros(parts[0].share_G.size))
    # covariances of what a cluster adds (z_g = sum over sides of share * mean) with a side's mean
    cross = np.zeros((len(parts), len(parts), errors_G.size))
    for i, one in enumerate(parts):
        for j, other in enumerate(parts):
            shared = one.tau_G if i == j else np.full(errors_G.size, _common(one, other))
            cross[i, j] = one.share_G * other.share_G * shared
    own_G = cross.sum(axis=(0, 1))  # Var z_g
    shares, toward = np.stack([part.share_G for part in parts]), cross.sum(axis=0)
    totals, unit = cross.sum(axis=2), np.eye(len(parts))
    basis = np.concatenate([shares, toward])  # Cov u = diag(own) + basis' middle basis
    middle = np.block([[totals, -unit], [-unit, np.zeros_like(unit)]])
    inner = middle @ (basis @ basis.T)
    expected = float(own_G.sum() + np.trace(inner))
    squared = float(
        own_G @ own_G
        + 2 * own_G @ np.einsum("ig,ij,jg->g", basis, middle, basis)
        + np.trace(inner @ inner)
    )
    seen, true = float(errors_G @ errors_G), float(own_G.sum())
    if expected <= 1e-9 * true or squared <= 0:
        return EstimatedVariance(variance=seen)
    return EstimatedVariance(variance=seen * true / expected, df=expected**2 / squared)


def mean_scatter(values_N: Array, groups_N: Array) -> EstimatedVariance:
    """Estimate the variance of a mean of records in clusters; 0 for equal values."""
    if float(np.ptp(values_N)) < 1e-12:
        return EstimatedVariance(variance=0.0)
    return clustered_scatter(values_N, groups_N)


def working_units(values_N: Array, groups_N: Array) -> float:
    """Count the independent records that tell as much about a mean of 0s and 1s.

    1 / sum_g h_g^2 (rho + (1 - rho) / n_g), h_g a cluster's share of the records, rho as in
    clustered_scatter, with p (1 - p) as the records' variance (Kish 1965, section 5.4).
    """
    side = _side(values_N, groups_N, int(groups_N.max()) + 1)
    variance = float(values_N.var())
    rho = max(0.0, 1 - side.within / variance) if variance else 0.0
    return 1 / float(side.share_G @ (side.share_G * rho + (1 - rho) / values_N.size))


def _quantile(df: float, alpha: float) -> float:
    """Compute Student's two-sided quantile; the normal one for many degrees."""
    from scipy.special import ndtri, stdtrit

    return -float(ndtri(alpha / 2) if df > 1e7 else stdtrit(df, alpha / 2))


def _side(values: Array, groups: Array, n_groups: int) -> _Side:
    """Describe a side's clusters; a cluster that is not on it has variance 0."""
    sizes_G = np.bincount(groups, minlength=n_groups)
    centred, here = values - values.mean(), sizes_G > 0
    sizes = np.maximum(sizes_G, 1)
    mean_G = np.bincount(groups, centred, n_groups) / sizes
    square_G = np.bincount(groups, centred**2, n_groups) / sizes
    total = float(square_G[here].mean())
    twins = values.size - int(here.sum())
    within = float((sizes_G * (square_G - mean_G**2)).sum()) / twins if twins else total
    between = max(0.0, total - within)
    tau_G = np.where(here, between + (total - between) / sizes, 0.0)
    return _Side(
        share_G=sizes_G / values.size, mean_G=mean_G, tau_G=tau_G, within=within, between=between
    )


def _common(one: _Side, other: _Side) -> float:
    """Estimate the covariance of two sides' means within a cluster."""
    both = (one.share_G > 0) & (other.share_G > 0)
    if not both.any():
        return 0.0
    most = math.sqrt(one.between * other.between)
    return min(most, max(-most, float((one.mean_G[both] * other.mean_G[both]).mean())))
