"""How good a model is: text overlap, perplexity and bits per byte, with intervals."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.needed import needed_part
from stillage.functional.binomial import Interval, clustered_proportion
from stillage.functional.means import mean_interval, ratio_interval, share_interval
from stillage.functional.readings import in_common, text_read, to_the_end
from stillage.run.results import measured_row
from stillage.types import Array, Record, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa

F_MEASURE = "F-measure, 0 to 1"
MEANS: Mapping[str, str] = {
    "rouge_l": F_MEASURE,
    "rouge_l_published": F_MEASURE,
    "tokens": "tokens",
}
"""Columns of evaluate/samples.parquet whose mean over records is a result -> its unit."""


def samples_schema() -> pa.Schema:
    """Return the columns of evaluate/samples.parquet."""
    import pyarrow as pa

    text, number, count, truth = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    return pa.schema(
        [
            ("model", text),
            ("id", text),
            ("prompt", text),
            ("reference", text),
            ("text", text),
            ("rouge_l", number),
            ("rouge_l_published", number),
            ("exact_match", truth),
            ("needed_exact", truth),
            ("tokens", count),
            ("finished", truth),
        ]
    )


def references_of(record: Record) -> list[str]:
    """Return all answers that count as right: references, else the response, if any."""
    if "references" in record.meta:
        return list(json.loads(record.meta["references"]))
    return [record.response] if record.response.strip() else []


def has_metric(samples: pa.Table, metric: str) -> bool:
    """Tell whether every row has the metric; of an older version it may be missing."""
    return metric in samples.column_names and not samples.column(metric).null_count


def sample_rows(
    model: str,
    records: Sequence[Record],
    texts: Sequence[str],
    tokens: Sequence[int],
    finished: Sequence[bool],
    needed_until: str = "",
) -> list[dict[str, object]]:
    """Score each generated text: ROUGE-L and exact match with the best reference.

    rouge_l is NaN where no reference has a word, rouge_l_published where it sees none
    (`evaluate.rouge`). needed_until: where the needed part ends, for needed_exact: exact match of
    that part; null without it. Raises DataError for a record without any reference.
    """
    from stillage.evaluate.rouge import exact_match, rouge_l, rouge_l_published

    references = [references_of(record) for record in records]
    overlap, exact = rouge_l(texts, references), exact_match(texts, references)
    published = rouge_l_published(texts, references)
    needed: list[bool | None] = [None] * len(texts)
    if needed_until:
        # answers are stripped
        parts = [[needed_part(one.strip(), needed_until) for one in some] for some in references]
        needed = list(exact_match([needed_part(text, needed_until) for text in texts], parts))
    return [
        {
            "model": model,
            "id": record.id,
            "prompt": record.prompt,
            "reference": record.response,
            "text": text,
            "rouge_l": float(overlap[i]),
            "rouge_l_published": float(published[i]),
            "exact_match": bool(exact[i]),
            "needed_exact": needed[i],
            "tokens": int(tokens[i]),
            "finished": bool(finished[i]),
        }
        for i, (record, text) in enumerate(zip(records, texts, strict=True))
    ]


def text_results(
    samples: pa.Table,
    *,
    level: float,
    base: Result,
    references: Sequence[Sequence[str]] | None = None,
    group_of: Mapping[str, str] | None = None,
) -> list[Result]:
    """Average ROUGE-L, exact match, BLEU, chrF and length of the texts, per model.

    needed_exact, exact match of the needed part, where the samples have it. An answer without a
    number under a measure is left out of it and counted as missing; n says how many remain.
    references: of each row, for BLEU and chrF; without them the column `reference`. group_of:
    record id -> near-duplicates, which count once in the intervals.
    """
    from stillage.evaluate.bleu import corpus_overlap, signatures

    results = []
    references = references or [[one] for one in samples.column("reference").to_pylist()]
    model = samples.column("model").to_numpy(zero_copy_only=False)
    for name in dict.fromkeys(model):
        chosen = model == name
        own = samples.filter(chosen)
        row = replace(base, model=name, dataset="test", level=level, n=own.num_rows)
        clusters = clusters_of(own, group_of)
        for metric, unit in MEANS.items():
            if not has_metric(samples, metric):
                continue
            values = own.column(metric).to_numpy(zero_copy_only=False)
            fine = ~np.isnan(values)
            lost = int((~fine).sum())
            interval_of = mean_interval if metric == "tokens" else share_interval
            mean = interval_of(values[fine], level, clusters=clusters[fine])
            shown = {"tokens": "generated_tokens"}.get(metric, metric)
            left = replace(row, missing=lost, missing_reason="no words" if lost else "")
            results.append(measured_row(left, shown, mean, unit=unit, n=int(fine.sum())))
        for metric in ("exact_match", "needed_exact"):
            if not has_metric(samples, metric):
                continue
            hits = own.column(metric).to_numpy(zero_copy_only=False).astype(bool)
            share = replace(clustered_proportion(hits, clusters, level), value=float(hits.mean()))
            results.append(measured_row(row, metric, share, unit="share of records"))
        right = [references[k] for k in np.flatnonzero(chosen).tolist()]
        texts = own.column("text").to_pylist()
        overlap = corpus_overlap(texts, right, level=level, clusters=clusters)
        for metric, signature in signatures(right).items():
            signed = replace(row, signature=signature)
            results.append(measured_row(signed, metric, overlap[metric], unit="0 to 100"))
    return results


def clusters_of(samples: pa.Table, group_of: Mapping[str, str] | None) -> Array:
    """Number the rows' groups of near-duplicates; without group_of each is alone."""
    from stillage.data.grouping import cluster_numbers

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
