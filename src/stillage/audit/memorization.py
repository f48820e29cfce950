"""Six measures of how much of a record a model recites, with nonmembers as floor.

Over real tokens only, all of one recital. A recital is what greedy decoding writes after the
record's prefix; it is compared token by token with the record's own suffix. Padding is never
compared, a short suffix is not held against its record, and a token that was not written is a miss.
Published: positional accuracy (arXiv:2508.07054, section 5), matched prefix and exact recital
(Carlini et al. 2023, arXiv:2202.07646), extraction strength (Carlini et al. 2021, arXiv:2012.07805;
as in arXiv:2407.06460).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.extraction import (
    Target,
    by_model_and_part,
    recites,
    shared_prefix,
    teacher_forced_hits,
)
from stillage.evaluate.rouge import rouge_l
from stillage.functional.means import share_interval
from stillage.run.results import measured_row
from stillage.types import Array, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

MEASURES = (
    "matched_prefix",
    "positional_accuracy",
    "edit_distance",
    "recital_rouge_l",
    "extraction_strength",
)
"""Columns averaged over records; 0 to 1, and higher = more recited but for edit_distance."""


def positional_accuracy(said_T: Array, true_T: Array) -> float:
    """Return the share of the true tokens that were said at their own place.

    said_T may be shorter (its missing tokens are misses) or longer (what follows the suffix does
    not count). NaN where there is no true token.
    """
    size = min(len(said_T), len(true_T))
    hits = int((np.asarray(said_T)[:size] == np.asarray(true_T)[:size]).sum())
    return hits / len(true_T) if len(true_T) else math.nan


def matched_prefix_share(said_T: Array, true_T: Array) -> float:
    """Return the share of the true tokens before the first error; NaN without tokens."""
    matched = shared_prefix(np.asarray(said_T), np.asarray(true_T))
    return matched / len(true_T) if len(true_T) else math.nan


def normalised_edit_distance(said_T: Array, true_T: Array) -> float:
    """Return Levenshtein distance over the longer length; 0: the same, or two empty."""
    from rapidfuzz.distance import Levenshtein

    said, true = np.asarray(said_T).tolist(), np.asarray(true_T).tolist()
    return float(Levenshtein.normalized_distance(said, true))


def extraction_strength(hits_T: Array) -> float:
    """Return 1 - k / T, k the fewest true tokens from which the rest is recited.

    Recited by greedy decoding after the first k. hits_T bool[T]: is each token the argmax after the
    true tokens before it? 0 when the last token is missed, 1 when none is; NaN without tokens.
    (Where one less is counted, a total miss scores 1 / T instead of 0.)
    """
    hits = np.asarray(hits_T, dtype=bool)
    if not hits.size:
        return math.nan
    misses = np.flatnonzero(~hits)
    return 1.0 - (int(misses[-1]) + 1) / hits.size if misses.size else 1.0


def memorization_table(
    model: str,
    targets: Sequence[Target],
    recited: Sequence[Array],
    stats: Mapping[str, TokenStats],
    texts: Sequence[str],
    sampled: Mapping[str, Array] | None = None,
) -> pa.Table:
    """Return a row per record: every measure of one model's recitals, and log p_z.

    log p_z is the suffix's log-probability in nats. All are NaN where there is no suffix. recited:
    generated ids per target; texts: the same, decoded; stats: record id -> the teacher-forced pass.
    sampled: record id -> log-probabilities of the same tokens under the distribution that an
    attacker samples from, which log p_z is then the sum of; without it, the model's own
    distribution.
    """
    import pyarrow as pa

    rouge = rouge_l(list(texts), [[target.text] for target in targets])
    rows = []
    for target, said, overlap in zip(targets, recited, rouge, strict=True):
        scored, suffix = stats[target.record_id], target.suffix_ids
        logp_T = scored.logp_T if sampled is None else sampled[target.record_id]
        logp_T = logp_T[target.scored_from : target.scored_from + len(suffix)]
        measured = dict.fromkeys((*MEASURES, "suffix_logp"), math.nan)
        if len(suffix):
            measured = {
                "matched_prefix": matched_prefix_share(said, suffix),
                "positional_accuracy": positional_accuracy(said, suffix),
                "edit_distance": normalised_edit_distance(said, suffix),
                "recital_rouge_l": overlap,
                "extraction_strength": extraction_strength(teacher_forced_hits(target, scored)),
                "suffix_logp": float(np.sum(logp_T, dtype=np.float64)),
            }
        named = {"model": model, "id": target.record_id, "part": target.part}
        recital = {"tokens": len(suffix), "exact": recites(said, target)}
        rows.append(named | recital | measured)
    return pa.Table.from_pylist(rows, schema=memorization_schema())


def memorization_schema() -> pa.Schema:
    """Return the columns of audit/memorization.parquet."""
    import pyarrow as pa

    names = [(name, pa.string()) for name in ("model", "id", "part")]
    numbers = [(name, pa.float64()) for name in (*MEASURES, "suffix_logp")]
    return pa.schema([*names, ("tokens", pa.int64()), ("exact", pa.bool_()), *numbers])


def memorization_results(table: pa.Table, *, level: float, base: Result) -> list[Result]:
    """Return the mean of every measure over records, per model and part.

    Near-duplicates count once in its interval, where the table has the column `group`.
    """
    results = []
    for (model, part), rows in by_model_and_part(table).items():
        for measure in MEASURES:
            fine = np.isfinite(rows[measure])
            n, lost = int(fine.sum()), int((~fine).sum())
            mean = share_interval(rows[measure][fine], level, clusters=rows["cluster"][fine])
            row = replace(
                base,
                model=model,
                dataset=part,
                level=level,
                missing=lost,
                missing_reason="no token to recite" if lost else "",
            )
            unit = "mean over records, 0 to 1"
            results.append(measured_row(row, measure, mean, unit=unit, n=n))
    return results
