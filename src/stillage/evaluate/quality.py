"""How good models' answers are, and how much better one model's than another's."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.data.grouping import cluster_numbers
from stillage.data.needed import needed_part
from stillage.functional.binomial import Interval, clustered_proportion
from stillage.functional.means import (
    bounded_interval,
    mean_interval,
    ratio_interval,
    share_interval,
)
from stillage.functional.readings import in_common, text_read, to_the_end
from stillage.functional.stats import paired_proportions
from stillage.run.results import measured_row
from stillage.types import Array, Record, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

F_MEASURE, SHARE = "F-measure, 0 to 1", "share of records"
UNITS: Mapping[str, str] = {
    "rouge_l": F_MEASURE,
    "rouge_l_published": F_MEASURE,
    "exact_match": SHARE,
    "needed_exact": SHARE,
    "tokens": "tokens",
}
"""Columns of evaluate/samples.parquet whose mean over records is a result -> its unit."""
GAINED = ("rouge_l", "exact_match", "needed_exact")


def samples_schema() -> pa.Schema:
    """Return the columns of evaluate/samples.parquet."""
    import pyarrow as pa

    kinds = (
        (("model", "id", "prompt", "reference", "text"), pa.string()),
        (("rouge_l", "rouge_l_published"), pa.float64()),
        (("exact_match", "needed_exact"), pa.bool_()),
        (("tokens",), pa.int64()),
        (("finished",), pa.bool_()),
    )
    return pa.schema([(name, kind) for names, kind in kinds for name in names])


def references_of(record: Record) -> list[str]:
    """Return all answers that count as right: references, else the response, if any."""
    if "references" in record.meta:
        return list(json.loads(record.meta["references"]))
    return [record.response] if record.response.strip() else []


def has_metric(samples: pa.Table, metric: str) -> bool:
    """Tell whether every row has the metric; of an older version it may be missing."""
    return metric in samples.column_names and not samples.column(metric).null_count


def column(table: pa.Table, name: str) -> Array:
    """Read a column as float64; NaN where it is empty."""
    return table[name].to_numpy().astype(np.float64)


def sample_rows(
    model: str,
    records: Sequence[Record],
    texts: Sequence[str],
    tokens: Sequence[int],
    finished: Sequence[bool],
    needed_until: str = "",
    *,
    unscored: bool = False,
) -> list[dict[str, Any]]:
    """Score each generated text: ROUGE-L and exact match with the best reference.

    rouge_l is NaN where no reference has a word, rouge_l_published where it sees none
    (`evaluate.rouge`). needed_until: where the needed part ends, for needed_exact: exact match of
    that part. A record without any reference is a DataError, or with unscored a row without scores.
    """
    from stillage.evaluate.rouge import exact_match, rouge_l, rouge_l_published

    given = zip(records, texts, tokens, finished, strict=True)
    rows: list[dict[str, Any]] = [
        {
            "model": model,
            "id": record.id,
            "prompt": record.prompt,
            "text": text,
            "tokens": count,
            "finished": done,
        }
        for record, text, count, done in given
    ]
    references = [references_of(record) for record in records]
    scored = [k for k, some in enumerate(references) if some or not unscored]
    said, right = [texts[k] for k in scored], [references[k] for k in scored]
    scores = {
        "reference": [records[k].response for k in scored],
        "rouge_l": rouge_l(said, right),
        "rouge_l_published": rouge_l_published(said, right),
        "exact_match": exact_match(said, right),
    }
    if needed_until:
        # answers are stripped
        parts = [[needed_part(one.strip(), needed_until) for one in some] for some in right]
        scores["needed_exact"] = exact_match([needed_part(x, needed_until) for x in said], parts)
    for place, k in enumerate(scored):
        rows[k] |= {name: values[place] for name, values in scores.items()}
    return rows


def text_results(
    samples: pa.Table,
    *,
    level: float,
    base: Result,
    references: Sequence[Sequence[str]] | None = None,
    group_of: Mapping[str, str] | None = None,
) -> list[Result]:
    """Average ROUGE-L, exact match, BLEU, chrF and length of the texts, per model.

    Also needed_exact, of the needed part, where the samples have it. An answer without a number
    under a measure is left out of it and counted as missing; n says how many remain. references: of
    each row, for BLEU and chrF, else the column `reference`. group_of: record id ->
    near-duplicates, which count once in the intervals.
    """
    from stillage.evaluate.bleu import corpus_overlap, signatures

    results = []
    references = references or [[one] for one in samples.column("reference").to_pylist()]
    model = samples.column("model").to_numpy()
    for name in dict.fromkeys(model):
        chosen = model == name
        own = samples.filter(chosen)
        row = replace(base, model=name, dataset="test", level=level, n=own.num_rows)
        clusters = clusters_of(own, group_of)
        for metric, unit in UNITS.items():
            if not has_metric(samples, metric):
                continue
            values = column(own, metric)
            fine = ~np.isnan(values)
            values, near, lost = values[fine], clusters[fine], int((~fine).sum())
            if unit == SHARE:
                mean = clustered_proportion(values, near, level)
            else:
                interval_of = mean_interval if metric == "tokens" else share_interval
                mean = interval_of(values, level, clusters=near)
            shown = "generated_tokens" if metric == "tokens" else metric
            left = replace(row, missing=lost, missing_reason="no words" if lost else "")
            results.append(measured_row(left, shown, mean, unit=unit, n=values.size))
        right = [references[k] for k in np.flatnonzero(chosen).tolist()]
        texts = own.column("text").to_pylist()
        overlap = corpus_overlap(texts, right, level=level, clusters=clusters)
        for metric, signature in signatures(right).items():
            signed = replace(row, signature=signature)
            results.append(measured_row(signed, metric, overlap[metric], unit="0 to 100"))
    return results


def clusters_of(samples: pa.Table, group_of: Mapping[str, str] | None) -> Array:
    """Number the rows' groups of near-duplicates; without group_of each is alone."""
    ids = samples.column("id").to_pylist()
    return cluster_numbers(ids, [(group_of or {}).get(id_, "") for id_ in ids])


def likelihood_results(
    stats: Mapping[str, Sequence[TokenStats]],
    texts: Sequence[str],
    *,
    level: float,
    base: Result,
    clusters: Array | None = None,
) -> list[Result]:
    """Compute perplexity per token and bits per byte of the true responses, per model.

    perplexity = exp(sum of -logp / tokens); bits per byte = sum of -logp / (ln 2 * bytes), fair
    across tokenizers. Both are of the characters that all the models read: records that were cut
    are counted in the note, and those of which the models read nothing in common are missing.
    Intervals: ratio_interval over records, on the log scale for perplexity; clusters int[R]:
    near-duplicates share a number and count once.
    """
    common = [in_common(readings) for readings in zip(*stats.values(), strict=True)]
    read_R = np.array([readings is not None for readings in common], dtype=bool)
    known = [(one, text) for one, text in zip(common, texts, strict=True) if one is not None]
    bytes_R = np.array(
        [len(text_read(one[0].span, text).encode()) for one, text in known], dtype=np.float64
    )
    cut, lost = sum(not to_the_end(one[0]) for one, _ in known), int((~read_R).sum())
    base = replace(
        base, missing=lost, missing_reason="not read alike by all models" if lost else ""
    )
    note = f"of what was read of {cut} responses that were cut" if cut else ""
    near_R = None if clusters is None else np.asarray(clusters)[read_R]
    results = []
    for place, name in enumerate(stats):
        own = [one[place] for one, _ in known]
        nats_R = np.array([-float(np.sum(entry.logp_T, dtype=np.float64)) for entry in own])
        tokens_R = np.array([len(entry.logp_T) for entry in own], dtype=np.float64)
        row = replace(base, model=name, dataset="test", level=level, n=len(own), note=note)
        loss = ratio_interval(nats_R, tokens_R, level, clusters=near_R)
        perplexity = Interval(
            value=math.exp(loss.value), low=math.exp(loss.low), high=math.exp(loss.high)
        )
        bits = ratio_interval(nats_R / math.log(2), bytes_R, level, clusters=near_R)
        results.append(measured_row(row, "perplexity", perplexity))
        results.append(measured_row(row, "bits_per_byte", bits, unit="bits per byte"))
    return results


def gain_results(
    samples: pa.Table,
    pairs: Sequence[tuple[str, str]],
    *,
    level: float,
    base: Result,
    group_of: Mapping[str, str] | None = None,
) -> list[Result]:
    """Average a minus b over the records for pairs of models (a, b): NAME_gain of a.

    samples: evaluate/samples.parquet, in which all models answer the same records in one order.
    ROUGE-L, and shares where near-duplicates count once (group_of: record id -> their group):
    `bounded_interval` of the differences; other shares: `paired_proportions`. Pairs with a missing
    model give nothing.
    """
    model = samples.column("model").to_numpy()
    results: list[Result] = []
    for first, second in pairs:
        one, other = (samples.filter(model == name) for name in (first, second))
        if not (one.num_rows and other.num_rows):
            continue
        assert one["id"].equals(other["id"]), "all models answer the same records"
        clusters = clusters_of(one, group_of)
        row = replace(base, model=first, level=level, dataset="test", against=second)
        for metric in [name for name in GAINED if has_metric(samples, name)]:
            first_R, second_R = column(one, metric), column(other, metric)
            known = ~np.isnan(first_R - second_R)  # an answer without a word has no ROUGE-L
            first_R, second_R, near = first_R[known], second_R[known], clusters[known]
            if metric == "rouge_l" or len(np.unique(near)) < near.size:
                gain = bounded_interval(first_R - second_R, -1.0, 1.0, level, clusters=near)
            else:
                gain = paired_proportions(first_R.astype(bool), second_R.astype(bool), level)
            name, n = f"{metric}_gain", int(known.sum())
            results.append(measured_row(row, name, gain, unit=UNITS[metric], n=n))
    return results
