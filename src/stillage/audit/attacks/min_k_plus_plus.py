"""Min-K%++: surprise, measured in units of what the model expects there."""

from __future__ import annotations

import numpy as np

from stillage.functional.tails import mean_of_lowest
from stillage.types import Attack, Query, TokenStats

VARIANCE_FLOOR = 1e-6  # nats^2: below it, a float32 variance over the vocabulary is rounding


def min_k_plus_plus(
    stats: TokenStats, fraction: float = 0.2, *, count: int = 0, window: int = 1, stride: int = 1
) -> float:
    """Mean of the lowest standardised log-probabilities of the record's tokens.

    z_t = (log q(y_t) - mu_t) / sqrt(max(sigma_t^2, 1e-6)), mu_t and sigma_t^2 the mean and variance
    of log q(v) under q itself; score = the mean of the m = max(1, ceil(fraction T)) smallest z_t,
    or of the `count` smallest if not 0; averaged first over windows of `window` tokens, `stride`
    apart, where asked. NaN without scored tokens.
    """
    spread_T = np.sqrt(np.maximum(np.asarray(stats.var_T, dtype=np.float64), VARIANCE_FLOOR))
    z_T = (np.asarray(stats.logp_T, dtype=np.float64) - stats.mean_T) / spread_T
    return mean_of_lowest(z_T, fraction, count=count, window=window, stride=stride)


MIN_K_PLUS_PLUS = Attack(
    name="min_k_plus_plus",
    paper="Zhang et al. 2025, arXiv:2404.02936",
    access="logprob",
    queries=(Query(party="target"),),
    score=min_k_plus_plus,
)
