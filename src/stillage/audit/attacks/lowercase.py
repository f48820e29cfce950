"""Lowercase: what is learned by heart is learned with its capitals."""

from __future__ import annotations

from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def lowercase(stats: TokenStats, lowercased: TokenStats) -> float:
    """Mean log-probability as written minus that in lower case, nats per token.

    score = mean log q(text) - mean log q(lower(text)), each over its own tokens; exp(-score) is the
    published ratio of perplexities. NaN without scored tokens; 0 for a text without capitals.
    """
    return mean_or_nan(stats.logp_T) - mean_or_nan(lowercased.logp_T)


LOWERCASE = Attack(
    name="lowercase",
    paper="Carlini et al. 2021, arXiv:2012.07805",
    access="logprob",
    queries=(Query(party="target"), Query(party="target", transform="lowercase")),
    score=lowercase,
)
