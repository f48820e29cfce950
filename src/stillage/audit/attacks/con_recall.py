"""Con-ReCall: members before it help a member, nonmembers do not."""

from __future__ import annotations

import math

from stillage.errors import DataError
from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def con_recall(
    stats: TokenStats, after_nonmembers: TokenStats, after_members: TokenStats, gamma: float = 1.0
) -> float:
    """Advantage of a member prefix over a nonmember one, relative to log-likelihood.

    score = (mean log q(x | nonmembers) - gamma mean log q(x | members)) / mean log q(x), each over
    the tokens of x only. An attacker needs some known members; the records of both prefixes must
    not be among the evaluated ones. NaN without scored tokens or where x is predicted with
    certainty. DataError when a prefix's own tokens were scored too.
    """
    counts = [len(reply.logp_T) for reply in (stats, after_nonmembers, after_members)]
    if len(set(counts)) > 1:
        raise DataError(
            "A prefix changed which tokens are scored.",
            f"{counts[0]} tokens alone, {counts[1]} after nonmembers, {counts[2]} after members",
            "Score the record's own tokens only, tokenised alike with and without a prefix.",
        )
    alone, nonmembers, members = (
        mean_or_nan(reply.logp_T) for reply in (stats, after_nonmembers, after_members)
    )
    return (nonmembers - gamma * members) / alone if alone < 0 else math.nan


CON_RECALL = Attack(
    name="con_recall",
    paper="Wang et al. 2024, arXiv:2409.03363",
    access="logprob",
    queries=(
        Query(party="target"),
        Query(party="target", transform="nonmember_prefix"),
        Query(party="target", transform="member_prefix"),
    ),
    score=con_recall,
)
