"""SPV-MIA: the neighbour score, less that of a model trained on the target's text.

Fu et al. 2024, arXiv:2311.06062. The reference is trained, from where the target started, on texts
that the target itself writes to prompts that are nobody's secret, so that it knows the style of the
members and not the members.
"""

from __future__ import annotations

from collections.abc import Sequence

from stillage.audit.attacks.neighbour import neighbour
from stillage.types import Attack, Query, TokenStats


def self_prompted_variation(
    stats: TokenStats,
    neighbours: Sequence[TokenStats],
    reference_stats: TokenStats,
    reference_neighbours: Sequence[TokenStats],
) -> float:
    """Variation under the target minus that under its self-prompted reference.

    Nats per token. score = PV_target(x) - PV_reference(x), PV(x) = mean log q(x) - (1/n) sum_i mean
    log q(x_i), both over the same near copies x_i: the paper's variation with the sign that makes
    members high, of log-probabilities (as in its code, where it is divided by the loss besides: p
    itself is 0 in floating point for any text of some length). NaN where either is.
    """
    return neighbour(stats, neighbours) - neighbour(reference_stats, reference_neighbours)


SELF_PROMPTED_VARIATION = Attack(
    name="self_prompted_variation",
    paper="Fu et al. 2024 (SPV-MIA), arXiv:2311.06062",
    access="logprob",
    queries=(
        Query(party="target"),
        Query(party="target", transform="neighbours"),
        Query(party="self_prompted"),
        Query(party="self_prompted", transform="neighbours"),
    ),
    score=self_prompted_variation,
    same_tokens=True,
)
