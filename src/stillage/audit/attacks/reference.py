"""Reference: a member is predicted better than another model predicts it.

Carlini et al. 2021, arXiv:2012.07805; calibration by difficulty: Watson et al. 2022,
arXiv:2111.08440. The reference should not have seen the members: the student without a teacher, or
(best) the same pipeline without the private records.
"""

from __future__ import annotations

import math

import numpy as np

from stillage.errors import DataError
from stillage.functional.tails import mean_or_nan
from stillage.types import Attack, Query, TokenStats


def reference(stats: TokenStats, reference_stats: TokenStats) -> float:
    """Mean log-probability minus the reference's, nats per token; one tokenizer.

    score = (1/T) sum_t (log q(y_t) - log q_ref(y_t)). NaN without scored tokens. DataError when the
    two scored different tokens: per-token means over other tokens do not compare.
    """
    if not np.array_equal(stats.ids_T, reference_stats.ids_T):
        raise DataError(
            "The reference model read the record as other tokens than the target, so a "
            "per-token comparison is void.",
            f"target: {len(stats.ids_T)} tokens, first {np.asarray(stats.ids_T)[:5].tolist()}; "
            f"reference: {len(reference_stats.ids_T)} tokens, first "
            f"{np.asarray(reference_stats.ids_T)[:5].tolist()}",
            "Use the attack reference_per_byte, which compares any two tokenizers.",
        )
    return mean_or_nan(stats.logp_T) - mean_or_nan(reference_stats.logp_T)


def reference_per_byte(stats: TokenStats, reference_stats: TokenStats, text: str) -> float:
    """Log-probability minus the reference's, nats per byte; any two tokenizers.

    score = (sum_t log q(y_t) - sum_s log q_ref(y_s)) / len(utf8(text)), each model over its own
    tokens of the same text. DataError for an empty text; NaN where a model scored no token.
    """
    if not text:
        raise DataError(
            "An empty text has no bytes.", "text = ''", "Leave records without a response out."
        )
    if not len(stats.logp_T) or not len(reference_stats.logp_T):
        return math.nan
    total = np.sum(stats.logp_T, dtype=np.float64) - np.sum(
        reference_stats.logp_T, dtype=np.float64
    )
    return float(total) / len(text.encode("utf-8"))


REFERENCE = Attack(
    name="reference",
    paper="Carlini et al. 2021, arXiv:2012.07805",
    access="logprob",
    queries=(Query(party="target"), Query(party="reference")),
    score=reference,
    same_tokens=True,
)

REFERENCE_COUNTERFACTUAL = Attack(
    name="reference_counterfactual",
    paper="Watson et al. 2022, arXiv:2111.08440; the same pipeline, whose teacher never saw "
    "the members",
    access="logprob",
    queries=(Query(party="target"), Query(party="counterfactual")),
    score=reference,
    same_tokens=True,
)

REFERENCE_INIT = Attack(
    name="reference_init",
    paper="Watson et al. 2022, arXiv:2111.08440; the weights that the target started from",
    access="logprob",
    queries=(Query(party="target"), Query(party="initial")),
    score=reference,
    same_tokens=True,
)

REFERENCE_TEACHER_INIT = Attack(
    name="reference_teacher_init",
    paper="Watson et al. 2022, arXiv:2111.08440; the weights that the teacher started from, "
    "as in arXiv:2508.07054",
    access="logprob",
    queries=(Query(party="target"), Query(party="teacher_initial")),
    score=reference,
    same_tokens=True,
)

SELF_PROMPTED_REFERENCE = Attack(
    name="self_prompted_reference",
    paper="Fu et al. 2024, arXiv:2311.06062; the loss alone, against the model that the "
    "target's own texts trained",
    access="logprob",
    queries=(Query(party="target"), Query(party="self_prompted")),
    score=reference,
    same_tokens=True,
)

REFERENCE_PER_BYTE = Attack(
    name="reference_per_byte",
    paper="Carlini et al. 2021, arXiv:2012.07805; per byte, for any pair of tokenizers",
    access="logprob",
    queries=(
        Query(party="target"),
        Query(party="reference"),
        Query(party="record", transform="text"),
    ),
    score=reference_per_byte,
)

REFERENCE_OUTSIDE = Attack(
    name="reference_outside",
    paper="Carlini et al. 2021, arXiv:2012.07805; per byte, the model given as "
    "audit.reference, also in a run that trains",
    access="logprob",
    queries=(
        Query(party="target"),
        Query(party="outside"),
        Query(party="record", transform="text"),
    ),
    score=reference_per_byte,
)
