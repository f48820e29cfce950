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
from stillage.types import Attack, Party, Query, TokenStats


def reference(stats: TokenStats, reference_stats: TokenStats) -> float:
    """Mean log-probability minus the reference's, nats per token; one tokenizer.

    score = (1/T) sum_t (log q(y_t) - log q_ref(y_t)). NaN without scored tokens. DataError when the
    two scored different tokens: per-token means over other tokens do not compare.
    """
    if not np.array_equal(stats.ids_T, reference_stats.ids_T):
        read = [np.asarray(one.ids_T).tolist() for one in (stats, reference_stats)]
        target, other = (f"{len(ids)} tokens, first {ids[:5]}" for ids in read)
        raise DataError(
            "The reference model read the record as other tokens than the target, so a "
            "per-token comparison is void.",
            f"target: {target}; reference: {other}",
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
    own, other = (np.sum(one.logp_T, dtype=np.float64) for one in (stats, reference_stats))
    return float(own - other) / len(text.encode("utf-8"))


def _against(party: Party, name: str, paper: str, *, per_byte: bool = False) -> Attack:
    """The attack that compares the target with this party, token by token or byte by byte."""
    text = (Query(party="record", transform="text"),) if per_byte else ()
    return Attack(
        name=name,
        paper=paper,
        access="logprob",
        queries=(Query(party="target"), Query(party=party), *text),
        score=reference_per_byte if per_byte else reference,
        same_tokens=not per_byte,
    )


CARLINI, WATSON = "Carlini et al. 2021, arXiv:2012.07805", "Watson et al. 2022, arXiv:2111.08440"
REFERENCE = _against("reference", "reference", CARLINI)
REFERENCE_COUNTERFACTUAL = _against(
    "counterfactual",
    "reference_counterfactual",
    f"{WATSON}; the same pipeline, whose teacher never saw the members",
)
REFERENCE_INIT = _against(
    "initial", "reference_init", f"{WATSON}; the weights that the target started from"
)
REFERENCE_TEACHER_INIT = _against(
    "teacher_initial",
    "reference_teacher_init",
    f"{WATSON}; the weights that the teacher started from, as in arXiv:2508.07054",
)
SELF_PROMPTED_REFERENCE = _against(
    "self_prompted",
    "self_prompted_reference",
    "Fu et al. 2024, arXiv:2311.06062; the loss alone, against the model that the target's own "
    "texts trained",
)
REFERENCE_PER_BYTE = _against(
    "reference",
    "reference_per_byte",
    f"{CARLINI}; per byte, for any pair of tokenizers",
    per_byte=True,
)
REFERENCE_OUTSIDE = _against(
    "outside",
    "reference_outside",
    f"{CARLINI}; per byte, the model given as audit.reference, also in a run that trains",
    per_byte=True,
)
