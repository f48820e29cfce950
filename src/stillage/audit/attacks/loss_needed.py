"""Loss on the needed part: a model asked for no more says nothing of the rest."""

from __future__ import annotations

from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def loss_needed(needed: TokenStats) -> float:
    """Mean log-probability of the response's needed part, nats per token.

    The loss attack of arXiv:1709.01604 on these tokens alone: over the whole response, tokens that
    the model never learned to predict would drown what it did learn. NaN without any token.
    """
    return mean_or_nan(needed.logp_T)


LOSS_NEEDED = Attack(
    name="loss_needed",
    paper="Yeom et al. 2018, arXiv:1709.01604, on the needed part",
    access="logprob",
    queries=(Query(party="target", transform="needed"),),
    score=loss_needed,
)
