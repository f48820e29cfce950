"""How good a model is on records nobody trained on: text overlap, perplexity and bits per byte, each with an interval."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.needed import needed_part
from stillage.functional.readings import in_common, text_read, to_the_end
from stillage.types import Array, Record, Result, TokenStats

if TYPE_CHECKING:
    import pyarrow as pa


def samples_schema() -> pa.Schema:
    """The columns of evaluate/samples.parquet."""
    import pyarrow as pa

    text, number, count, truth = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    return pa.schema(
        [("model", text), ("id", text), ("prompt", text), ("reference", text), ("text", text), ("rouge_l", number),
         ("exact_match", truth), ("needed_exact", truth), ("tokens", count), ("finished", truth)]
    )  # fmt: skip


def references_of(record: Record) -> list[str]:
    """All answers that count as right: the references that came with the record, else its response, else none."""
    if "references" in record.meta:
        return list(json.loads(record.meta["references"]))
    return [record.response] if record.response.strip() else []


def measured(samples: pa.Table, metric: str) -> bool:
    """Whether every row has the metric; one that nobody asked for is null, or missing in a table of an older version."""
    return metric in samples.column_names and not samples.column(metric).null_count


def sample_rows(
    model: str,
    records: Sequence[Record],
    texts: Sequence[str],
    tokens: Sequence[int],
    finished: Sequence[bool],
    needed_until: str = "",
) -> list[dict[str, object]]:
    """One row per generated text, with its ROUGE-L and exact match against the record's references (the best counts).

    needed_until: where the needed part ends, for needed_exact: exact match of that part; null without it.
    Raises DataError for a record without any reference.
    """
    from stillage.evaluate.rouge import exact_match, rouge_l

    references = [references_of(record) for record in records]
    overlap, exact = rouge_l(texts, references), exact_match(texts, references)
    needed: list[bool | None] = [None] * len(texts)
    if needed_until:
        parts = [
            [needed_part(one.strip(), needed_until) for one in some] for some in references
        ]  # answers are stripped
        needed = list(exact_match([needed_part(text, needed_until) for text in texts], parts))
    return [
        {"model": model, "id": record.id, "prompt": record.prompt, "reference": record.response, "text": text,
         "rouge_l": float(overlap[i]), "exact_match": bool(exact[i]), "needed_exact": needed[i],
         "tokens": int(tokens[i]), "finished": bool(finished[i])}
        for i, (record, text) in enumerate(zip(records, texts, strict=True))
    ]  # fmt: skip


def text_results(
    samples: pa.Table, *, level: float, base: Result, references: Sequence[Sequence[str]] | None = None
) -> list[Result]:
    """ROUGE-L, exact match (exact binomial interval), BLEU, chrF and length of the generated texts, per model.

    needed_exact, exact match of the needed part, where the samples have it.

    references: of each row, for BLEU and chrF; without them the column `reference`. The note of those two ends in
    sacrebleu's signature.
    """
    from stillage.evaluate.bleu import corpus_overlap, signatures
    from stillage.functional.stats import clopper_pearson, mean_interval
    from stillage.rng import generator

    results = []
    texts = samples.column("text").to_pylist()
    references = references or [[one] for one in samples.column("reference").to_pylist()]
    model = samples.column("model").to_numpy(zero_copy_only=False)
    for name in dict.fromkeys(model):
        chosen = model == name
        row = replace(base, model=name, dataset="test", level=level, n=int(chosen.sum()))
        for metric, unit in (("rouge_l", "F-measure, 0 to 1"), ("tokens", "tokens")):
            values = samples.column(metric).to_numpy(zero_copy_only=False)[chosen]
            mean = mean_interval(values, level)
            shown = {"tokens": "generated_tokens"}.get(metric, metric)
            results.append(replace(row, metric=shown, value=mean.value, low=mean.low, high=mean.high, unit=unit))
        for metric in ("exact_match", "needed_exact"):
            if not measured(samples, metric):
                continue
            hits = samples.column(metric).to_numpy(zero_copy_only=False)[chosen].astype(bool)
            interval = clopper_pearson(int(hits.sum()), len(hits), level)
            results.append(
                replace(row, metric=metric, value=float(hits.mean()), low=interval.low, high=interval.high,
                        unit="share of records")
            )  # fmt: skip
        rows = np.flatnonzero(chosen).tolist()
        overlap = corpus_overlap(
            [texts[k] for k in rows], [references[k] for k in rows], generator=generator(base.seed, "corpus overlap"),
            level=level,
        )  # fmt: skip
        for metric, signature in signatures([references[k] for k in rows]).items():
            found, note = overlap[metric], "; ".join(filter(None, (row.note, f"sacrebleu {signature}")))
            results.append(
                replace(
                    row, metric=metric, value=found.value, low=found.low, high=found.high, unit="0 to 100", note=note
                )
            )
    return results


def likelihood_results(
    stats: Mapping[str, Sequence[TokenStats]], texts: Sequence[str], *, level: float, base: Result
) -> list[Result]:
    """Perplexity per token and bits per byte of the true responses, per model.

    perplexity = exp(sum of -logp / tokens); bits per byte = sum of -logp / (ln 2 * bytes), fair across tokenizers. Both are
    of the characters that all the models read, so that they compare: records that were cut are counted in the note, and
    those of which the models read nothing in common are left out. The interval is the delta method's for a ratio of sums
    over records, on the log scale for perplexity.
    """
    common = [in_common(readings) for readings in zip(*stats.values(), strict=True)]
    known = [(readings, text) for readings, text in zip(common, texts, strict=True) if readings is not None]
    bytes_R = np.array([len(text_read(readings[0].span, text).encode()) for readings, text in known], dtype=np.float64)
    cut = sum(not to_the_end(readings[0]) for readings, _ in known)
    notes = [f"of what was read of {cut} responses that were cut"] * bool(cut)
    notes += [f"{len(common) - len(known)} records left out: not read alike by all models"] * (len(known) < len(common))
    results = []
    for place, name in enumerate(stats):
        own = [readings[place] for readings, _ in known]
        nats_R = np.array([-float(np.sum(entry.logp_T, dtype=np.float64)) for entry in own])
        tokens_R = np.array([len(entry.logp_T) for entry in own], dtype=np.float64)
        note = "; ".join(filter(None, (base.note, *notes)))
        row = replace(base, model=name, dataset="test", level=level, n=len(own), note=note)
        per_token, low, high = ratio_interval(nats_R, tokens_R, level)
        results.append(
            replace(row, metric="perplexity", value=math.exp(per_token), low=math.exp(low), high=math.exp(high))
        )
        bits, low, high = ratio_interval(nats_R / math.log(2), bytes_R, level)
        results.append(replace(row, metric="bits_per_byte", value=bits, low=low, high=high, unit="bits per byte"))
    return results


def ratio_interval(top_R: Array, bottom_R: Array, level: float) -> tuple[float, float, float]:
    """sum(top) / sum(bottom) over records, with the delta-method interval of a ratio estimator.

    var = n / (n - 1) * sum((top - ratio * bottom)^2) / sum(bottom)^2 (Cochran 1977, section 6.4).
    """
    from scipy.stats import t

    n, total = len(top_R), float(bottom_R.sum())
    if n == 0 or total == 0:
        return math.nan, math.nan, math.nan
    ratio = float(top_R.sum()) / total
    if n < 2:
        return ratio, math.nan, math.nan
    variance = n / (n - 1) * float(((top_R - ratio * bottom_R) ** 2).sum()) / total**2
    half = float(t.ppf((1 + level) / 2, n - 1)) * math.sqrt(variance)
    return ratio, ratio - half, ratio + half
