"""Membership shuffled among the records, near-duplicates together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """Clusters of one size, G of s records, among which membership is shuffled."""

    place_Gs: Array  # int: positions of the records
    member_Gs: Array  # bool


def strata_by_size(number: Array, member: Array) -> list[Stratum]:
    """Sort the clusters by their size, with each record's position and membership."""
    size = np.bincount(number)
    order = np.argsort(number, kind="stable")
    starts = np.concatenate([[0], np.cumsum(size)[:-1]])
    places = [order[starts[size == s][:, None] + np.arange(s)] for s in np.unique(size)]
    return [Stratum(place_Gs=place_Gs, member_Gs=member[place_Gs]) for place_Gs in places]


def stratum_moments(ranks_AN: Array, stratum: Stratum) -> tuple[Array, Array]:
    """Compute mean and variance of the members' sum of ranks over all shuffles.

    float64[A] each. c_g members among the s records of cluster g, m_g the mean of its ranks: S =
    sum c_g m_g + what the choice within clusters adds. Var = sum (m_g - m)^2 sum (c_g - c)^2 / (G -
    1) + mean(c (s - c) / s) sum_g v_g, v_g the ranks' variance within g (over s - 1).
    """
    ranks_AGs, count_G = ranks_AN[:, stratum.place_Gs], stratum.member_Gs.sum(axis=1)
    n_clusters, size = stratum.place_Gs.shape
    mean_AG = ranks_AGs.mean(axis=2)
    variance_A = np.zeros(len(ranks_AN))
    if n_clusters > 1:
        between_A = n_clusters * mean_AG.var(axis=1) * count_G.var() * n_clusters
        variance_A = variance_A + between_A / (n_clusters - 1)
    if size > 1:
        within = float((count_G * (size - count_G)).mean()) / size
        variance_A = variance_A + within * ranks_AGs.var(axis=2, ddof=1).sum(axis=1)
    return mean_AG.mean(axis=1) * count_G.sum(), variance_A


def shuffled_members(
    strata: Sequence[Stratum], count: int, n: int, generator: np.random.Generator
) -> Array:
    """Draw `count` shuffles of membership, bool[count, n]."""
    shuffled_PN = np.empty((count, n), dtype=bool)
    for stratum in strata:
        (n_clusters, size), given_Gs = stratum.place_Gs.shape, stratum.member_Gs
        order_PG = generator.permuted(np.tile(np.arange(n_clusters), (count, 1)), axis=1)
        drawn_PGs = given_Gs[order_PG]
        if (given_Gs.any(axis=1) & ~given_Gs.all(axis=1)).any():
            drawn_PGs = generator.permuted(drawn_PGs, axis=2)
        shuffled_PN[:, stratum.place_Gs.ravel()] = drawn_PGs.reshape(count, n_clusters * size)
    return shuffled_PN
