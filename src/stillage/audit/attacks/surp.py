"""SURP: surprising tokens where a model is sure."""

from __future__ import annotations

import math

import numpy as np

from stillage.functional.tails import mean_of_lowest
from stillage.types import Attack, Query, TokenStats


def surp(stats: TokenStats, sure: float = 0.5, fraction: float = 0.4) -> float:
    """Mean log-probability of the least probable of the tokens of lowest entropy.

    Surest: the ceil(sure T) tokens of lowest entropy -mean_T; of these, the ceil(fraction n) least
    probable ones. A member has learned them, a nonmember has not. The paper cuts at a fixed entropy
    and probability instead, which a short record may never reach; ranks within the record always
    leave a token. NaN without scored tokens or with NaN among them.
    """
    count = len(stats.logp_T)
    if not count or np.isnan(stats.logp_T).any() or np.isnan(stats.mean_T).any():
        return math.nan
    surest = np.argsort(-np.asarray(stats.mean_T), kind="stable")[: math.ceil(sure * count - 1e-9)]
    return mean_of_lowest(stats.logp_T[surest], fraction)


SURP = Attack(
    name="surp",
    paper="Zhang and Wu 2024, arXiv:2407.21248",
    access="logprob",
    queries=(Query(party="target"),),
    score=surp,
)
