"""LOSS: a member is predicted better. Yeom et al. 2018, arXiv:1709.01604."""

from __future__ import annotations

from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def loss(stats: TokenStats) -> float:
    """Mean log-probability of the record's scored tokens, nats per token.

    score = (1/T) sum_t log q(y_t | before), minus the loss. NaN without scored tokens. Perplexity
    ranks alike: exp(-score).
    """
    return mean_or_nan(stats.logp_T)


LOSS = Attack(
    name="loss",
    paper="Yeom et al. 2018, arXiv:1709.01604",
    access="logprob",
    queries=(Query(party="target"),),
    score=loss,
)
