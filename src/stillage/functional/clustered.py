"""The variance of a mean of records in clusters of any sizes, and its freedom."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.functional.scatter import Scatter
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One class of records by cluster: its share, its mean, and that mean's variance."""

    share_G: Array
    mean_G: Array
    tau_G: Array
    within: float  # the variance within clusters
    between: float  # the part of the variance that a cluster's records share


def clustered_scatter(
    values_N: Array, groups_N: Array, sides: Sequence[Array] | None = None
) -> Scatter:
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
        return Scatter(variance=math.inf)
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
        return Scatter(variance=seen)
    return Scatter(variance=seen * true / expected, df=expected**2 / squared)


def mean_scatter(values_N: Array, groups_N: Array) -> Scatter:
    """Estimate the variance of a mean of records in clusters; 0 for equal values."""
    if float(np.ptp(values_N)) < 1e-12:
        return Scatter(variance=0.0)
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
