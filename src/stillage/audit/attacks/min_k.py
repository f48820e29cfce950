"""Min-K% Prob: a nonmember has a few very surprising tokens."""

from __future__ import annotations

from stillage.functional.tails import mean_of_lowest
from stillage.types import Attack, Query, TokenStats


def min_k(
    stats: TokenStats, fraction: float = 0.2, *, count: int = 0, window: int = 1, stride: int = 1
) -> float:
    """Mean log-probability of the record's least predictable tokens, nats.

    The m = max(1, ceil(fraction T)) smallest of log q(y_t | before), or the `count` smallest if not
    0; averaged first over windows of `window` tokens, `stride` apart, where asked. fraction = 0.2
    as published. NaN without scored tokens.
    """
    return mean_of_lowest(stats.logp_T, fraction, count=count, window=window, stride=stride)


MIN_K = Attack(
    name="min_k",
    paper="Shi et al. 2024, arXiv:2310.16789",
    access="logprob",
    queries=(Query(party="target"),),
    score=min_k,
)
