"""Neighbourhood: a member is predicted better than near copies of it."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.functional.tails import mean_above
from stillage.types import Attack, Query, TokenStats


def neighbour(stats: TokenStats, neighbours: Sequence[TokenStats]) -> float:
    """Mean log-probability minus the average of the neighbours', nats per token.

    score = mean log q(x) - (1/n) sum_i mean log q(x_i); the MEAN over neighbours, as published. NaN
    without neighbours or scored tokens.
    """
    return mean_above(stats.logp_T, [near.logp_T for near in neighbours])


NEIGHBOUR = Attack(
    name="neighbour",
    paper="Mattern et al. 2023, arXiv:2305.18462",
    access="logprob",
    queries=(Query(party="target"), Query(party="target", transform="neighbours")),
    score=neighbour,
)
