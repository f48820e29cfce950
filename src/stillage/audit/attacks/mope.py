"""MoPe: noise on the weights raises the loss of a member more."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.functional.tails import mean_above
from stillage.types import Attack, Query, TokenStats


def mope(stats: TokenStats, perturbed: Sequence[TokenStats]) -> float:
    """Mean increase of the loss under noisy copies of the model, nats per token.

    score = (1/S) sum_s L_{theta + delta_s}(x) - L_theta(x), L the mean negative log-probability;
    perturbed: the replies of the S noisy copies about the same record. NaN without copies or scored
    tokens.
    """
    return mean_above(stats.logp_T, [noisy.logp_T for noisy in perturbed])


MOPE = Attack(
    name="mope",
    paper="Li et al. 2023, arXiv:2310.14369",
    access="weights",
    queries=(Query(party="target"), Query(party="target", transform="noise")),
    score=mope,
)
