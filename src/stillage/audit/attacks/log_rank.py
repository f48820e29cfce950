"""Log-rank, made to detect text: a member's tokens stand near the top of the list."""

from __future__ import annotations

import math

import numpy as np

from stillage.types import Attack, Query, TokenStats


def log_rank(stats: TokenStats) -> float:
    """Minus the mean of log(rank + 1) of the record's tokens; rank 0 is the best.

    Unlike the loss it ignores how sharp the model is, e.g. after distillation at a temperature. NaN
    without scored tokens, or where a log-probability is NaN (a rank would hide it).
    """
    if not len(stats.rank_T) or np.isnan(stats.logp_T).any():
        return math.nan
    return -float(np.log1p(stats.rank_T, dtype=np.float64).mean())


LOG_RANK = Attack(
    name="log_rank",
    paper="Su et al. 2023, arXiv:2306.05540",
    access="logprob",
    queries=(Query(party="target"),),
    score=log_rank,
)
