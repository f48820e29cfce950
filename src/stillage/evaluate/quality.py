"""How good a model is on records nobody trained on: text overlap, perplexity and bits per byte, each with an interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.needed import needed_part
from stillage.functional.binomial import Interval
from stillage.functional.readings import in_common, text_read, to_the_end
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

RANGES = {
    **dict.fromkeys(("rouge_l", "rouge_l_published", "exact_match", "needed_exact"), (0.0, 1.0)),
    **dict.fromkeys(("bleu", "chrf"), (0.0, 100.0)),
}
"""Metrics that cannot leave a range."""


def samples_schema() -> pa.Schema:
    """The columns of evaluate/samples.parquet."""
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
    """All answers that count as right: the references that came with the record, else its response, else none."""
    if "references" in record.meta:
        return list(json.loads(record.meta["references"]))
    return [record.response] if record.response.strip() else []


def measured(samples: pa.Table, metric: str) -> bool:
    """Whether every row has the metric; one that nobody asked for is null, or missing in a table of an older version."""
    return metric in samples.column_names and not samples.column(metric).null_count


def _joined(*parts: str) -> str:
    """What there is to say, in one note."""
    return "; ".join(filter(None, parts))


def sample_rows(
    model: str,
    records: Sequence[Record],
    texts: Sequence[str],
    tokens: Sequence[int],
    finished: Sequence[bool],
    needed_until: str = "",
) -> list[dict[str, object]]:
    """One row per generated text, with its ROUGE-L and exact match against the record's references (the best counts).

    rouge_l is NaN where no reference has a word, rouge_l_published where it sees none (`evaluate.rouge`).
    needed_until: where the needed part ends, for needed_exact: exact match of that part; null without it.
    Raises DataError for a record without any reference.
    """
    from stillage.evaluate.rouge import exact_match, rouge_l, rouge_l_published

    references = [references_of(record) for record in records]
    overlap, exact = rouge_l(texts, references), exact_match(texts, references)
    published = rouge_l_published(texts, references)
    needed: list[bool | None] = [None] * len(texts)
    if needed_until:
        parts = [
            [needed_part(one.strip(), needed_until) for one in some] for some in references
        ]  # answers are stripped
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
    """ROUGE-L, exact match (exact binomial interval), BLEU, chrF and length of the generated texts, per model.

    needed_exact, exact match of the needed part, where the samples have it. An answer without a number
    under a measure is left out of it and counted in the note; n says how many remain.

    references: of each row, for BLEU and chrF; without them the column `reference`. The note of those two ends in
    sacrebleu's signature. group_of: record id -> near-duplicates, which count once in the intervals; none: alone.
    """
    from stillage.evaluate.bleu import corpus_overlap, signatures
    from stillage.functional.binomial import clustered_proportion
    from stillage.functional.means import mean_interval, share_interval

    results = []
    texts = samples.column("text").to_pylist()
    references = references or [[one] for one in samples.column("reference").to_pylist()]
    model = samples.column("model").to_numpy(zero_copy_only=False)
    for name in dict.fromkeys(model):
        chosen = model == name
        row = replace(base, model=name, dataset="test", level=level, n=int(chosen.sum()))
        clusters = clusters_of(samples.filter(chosen), group_of)
        for metric, unit in MEANS.items():
            if not measured(samples, metric):
                continue
            values = samples.column(metric).to_numpy(zero_copy_only=False)[chosen]
            fine = ~np.isnan(values)
            lost = int((~fine).sum())
            note = _joined(row.note, f"{lost} without words") if lost else row.note
            interval_of = mean_interval if metric == "tokens" else share_interval
            mean = interval_of(values[fine], level, clusters=clusters[fine])
            shown = {"tokens": "generated_tokens"}.get(metric, metric)
            results.append(
                replace(
                    row,
                    metric=shown,
                    value=mean.value,
                    low=mean.low,
                    high=mean.high,
                    unit=unit,
                    n=int(fine.sum()),
                    note=note,
                )
            )
        for metric in ("exact_match", "needed_exact"):
            if not measured(samples, metric):
                continue
            hits = samples.column(metric).to_numpy(zero_copy_only=False)[chosen].astype(bool)
            interval = clustered_proportion(hits, clusters, level)
            results.append(
                replace(
                    row,
                    metric=metric,
                    value=float(hits.mean()),
                    low=interval.low,
                    high=interval.high,
                    unit="share of records",
                )
            )
        rows = np.flatnonzero(chosen).tolist()
        overlap = corpus_overlap(
            [texts[k] for k in rows], [references[k] for k in rows], level=level, clusters=clusters
        )
        for metric, signature in signatures([references[k] for k in rows]).items():
            found, note = overlap[metric], _joined(row.note, f"sacrebleu {signature}")
            results.append(
                replace(
                    row,
                    metric=metric,
                    value=found.value,
                    low=found.low,
                    high=found.high,
                    unit="0 to 100",
                    note=note,
                )
            )
    return results


def within_range(metric: str, found: Interval) -> Interval:
    """The interval as far as the metric's range goes, where it has one: no mean lies beyond."""
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    return (
        replace(found, low=max(found.low, least), high=min(found.high, most))
        if found.low <= found.high
        else found
    )


def clusters_of(samples: pa.Table, group_of: Mapping[str, str] | None) -> Array:
    """int[n]: equal for rows whose records are near-duplicates; group_of: record id -> their group, none: alone."""
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
    """Perplexity per token and bits per byte of the true responses, per model.

    perplexity = exp(sum of -logp / tokens); bits per byte = sum of -logp / (ln 2 * bytes), fair across tokenizers. Both are
    of the characters that all the models read, so that they compare: records that were cut are counted in the note, and
    those of which the models read nothing in common are left out. Intervals: means.ratio_interval over records, on the log
    scale for perplexity; clusters int[R]: near-duplicates share a number and count once.
    """
    common = [in_common(readings) for readings in zip(*stats.values(), strict=True)]
    known = [
        (readings, text)
        for readings, text in zip(common, texts, strict=True)
        if readings is not None
    ]
    bytes_R = np.array(
        [len(text_read(readings[0].span, text).encode()) for readings, text in known],
        dtype=np.float64,
    )
    cut = sum(not to_the_end(readings[0]) for readings, _ in known)
    notes = [f"of what was read of {cut} responses that were cut"] * bool(cut)
    notes += [f"{len(common) - len(known)} records left out: not read alike by all models"] * (
        len(known) < len(common)
    )
    near_R = (
        None
        if clusters is None
        else np.asarray(clusters)[[readings is not None for readings in common]]
    )
    results = []
    for place, name in enumerate(stats):
        own = [readings[place] for readings, _ in known]
        nats_R = np.array([-float(np.sum(entry.logp_T, dtype=np.float64)) for entry in own])
        tokens_R = np.array([len(entry.logp_T) for entry in own], dtype=np.float64)
        note = "; ".join(filter(None, (base.note, *notes)))
        row = replace(base, model=name, dataset="test", level=level, n=len(own), note=note)
        per_token, low, high = ratio_interval(nats_R, tokens_R, level, near_R)
        results.append(
            replace(
                row,
                metric="perplexity",
                value=math.exp(per_token),
                low=math.exp(low),
                high=math.exp(high),
            )
        )
        bits, low, high = ratio_interval(nats_R / math.log(2), bytes_R, level, near_R)
        results.append(
            replace(
                row, metric="bits_per_byte", value=bits, low=low, high=high, unit="bits per byte"
            )
        )
    return results


def ratio_interval(
    top_R: Array, bottom_R: Array, level: float, clusters: Array | None = None
) -> tuple[float, float, float]:
    """sum(top) / sum(bottom) over records, and the limits of means.ratio_interval."""
    from stillage.functional.means import ratio_interval as interval

    found = interval(top_R, bottom_R, level, clusters=clusters)
    return found.value, found.low, found.high
