"""ReCaLL: a nonmember prefix helps the model less on what it knows."""

from __future__ import annotations

import math

from stillage.errors import DataError
from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def recall(stats: TokenStats, conditioned: TokenStats) -> float:
    """Log-likelihood after a nonmember prefix over the log-likelihood without it.

    Larger for a member. score = mean log q(x | prefix) / mean log q(x), both over the tokens of x
    only. The prefix records must not be among the evaluated nonmembers. NaN without scored tokens
    or where x is predicted with certainty. DataError when the prefix's own tokens were scored too.
    """
    if len(stats.logp_T) != len(conditioned.logp_T):
        raise DataError(
            "The prefix changed which tokens are scored.",
            f"{len(stats.logp_T)} tokens without, {len(conditioned.logp_T)} with the prefix",
            "Score the record's own tokens only, tokenised alike with and without the prefix.",
        )
    alone = mean_or_nan(stats.logp_T)
    return mean_or_nan(conditioned.logp_T) / alone if alone < 0 else math.nan


RECALL = Attack(
    name="recall",
    paper="Xie et al. 2024, arXiv:2406.15968",
    access="logprob",
    queries=(Query(party="target"), Query(party="target", transform="nonmember_prefix")),
    score=recall,
)
