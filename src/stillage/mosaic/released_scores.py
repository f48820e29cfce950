"""The five scores of the published code of mosaic memory, as released.

Shilov, Meeus and de Montjoye 2024, "The mosaic memory of large language models", arXiv:2405.15523.
There a low score means a member; here each is turned, so that higher = more likely a member, which
leaves every AUC as it is. Where they are not the audit's attacks of the same idea:

- loss: minus the perplexity; the audit's is minus the loss. The ranks are the same.
- ratio: of two perplexities, each per token of its own tokenizer, so that a text which the
  reference cuts into more tokens looks easier to it; the audit's reference_per_byte divides both by
  the same bytes, and its reference wants one tokenizer (then the ranks are the same).
- lowercase: of two perplexities, each over its own tokens; the ranks are the audit's.
- zlib: the loss divided by compressed bytes per character, a ratio near 0.5 to 1 whatever the
  length; the audit's divides by compressed bytes.
- minkprob: the 20 lowest log-probabilities, an absolute number called a percentage; the audit's
  min_k takes a share, 20 %, or min_k_count = 20 of them (then it is the same).

One thing is not as released: there the first padding token after a text shorter than the longest of
its batch was scored as its last, so that a score depended on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING
from zlib import compress

from stillage.functional.tails import mean_of_lowest, mean_or_nan
from stillage.mosaic.scoring import ScoreSettings, scores_of
from stillage.types import Attack, Party, Query, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.mosaic.canary_reading import ModelReader

LOWEST = 20  # tokens, where a share was meant
PAPER = "arXiv:2405.15523, its released code"


def perplexity(stats: TokenStats) -> float:
    """exp of the mean loss of the scored tokens; NaN without any."""
    return math.exp(-mean_or_nan(stats.logp_T))


def released_loss(stats: TokenStats) -> float:
    """- PPL(x)."""
    return -perplexity(stats)


def released_ratio(stats: TokenStats, reference: TokenStats) -> float:
    """- PPL(x) / PPL_reference(x), each over its own tokens."""
    return -perplexity(stats) / perplexity(reference)


def released_lowercase(stats: TokenStats, lower: TokenStats) -> float:
    """- PPL(x) / PPL(lower(x)), each over its own tokens."""
    return -perplexity(stats) / perplexity(lower)


def released_zlib(stats: TokenStats, text: str) -> float:
    """- ln PPL(x) / (compressed bytes / characters)."""
    return mean_or_nan(stats.logp_T) / (len(compress(text.encode())) / len(text))


def released_minkprob(stats: TokenStats) -> float:
    """Mean of the 20 lowest log-probabilities; of all where there are fewer."""
    return mean_of_lowest(stats.logp_T, count=LOWEST)


TARGET = Query(party="target")
RELEASED: Mapping[str, Attack] = {
    attack.name: attack
    for attack in (
        Attack(name="loss", paper=PAPER, access="logprob", queries=(TARGET,), score=released_loss),
        Attack(
            name="ratio",
            paper=PAPER,
            access="logprob",
            queries=(TARGET, Query(party="reference")),
            score=released_ratio,
        ),
        Attack(
            name="lowercase",
            paper=PAPER,
            access="logprob",
            queries=(TARGET, Query(party="target", transform="lowercase")),
            score=released_lowercase,
        ),
        Attack(
            name="zlib",
            paper=PAPER,
            access="logprob",
            queries=(TARGET, Query(party="record", transform="text")),
            score=released_zlib,
        ),
        Attack(
            name="minkprob",
            paper=PAPER,
            access="logprob",
            queries=(TARGET,),
            score=released_minkprob,
        ),
    )
}


def released_scores(
    target: ModelReader, canaries: pa.Table, reference: ModelReader, *, batch_tokens: int = 16384
) -> pa.Table:
    """Score every canary by the five, as rows of SCORES.

    Higher = more likely a member. The target reads the canaries' ids, the reference their texts by
    its own tokenizer (its ids where that is the target's); no BOS, first token not scored.
    """
    from stillage.run.audit_config import AuditConfig

    settings = ScoreSettings(audit=AuditConfig(batch_tokens=batch_tokens))
    others: Mapping[Party, ModelReader] = {"reference": reference}
    return scores_of(target, canaries, list(RELEASED.values()), settings, others, spans=False)
