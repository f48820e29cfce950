"""How much better one model answers than another, on the same records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.evaluate.quality import F_MEASURE, clusters_of, has_metric
from stillage.functional.bounded import bounded_interval
from stillage.functional.stats import Interval, paired_proportions
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = ("rouge_l", "exact_match", "needed_exact")


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
    model = samples.column("model").to_numpy(zero_copy_only=False)
    results: list[Result] = []
    for first, second in pairs:
        rows = [np.flatnonzero(model == name) for name in (first, second)]
        if not (rows[0].size and rows[1].size):
            continue
        ids = [samples.column("id").take(chosen).to_pylist() for chosen in rows]
        assert ids[0] == ids[1], "all models answer the same records"
        clusters = clusters_of(samples.take(rows[0]), group_of)
        row = replace(base, model=first, level=level, dataset="test", against=second)
        for metric in METRICS:
            if not has_metric(samples, metric):
                continue
            values = samples.column(metric).to_numpy(zero_copy_only=False).astype(np.float64)
            first_R, second_R = values[rows[0]], values[rows[1]]
            known = ~np.isnan(first_R - second_R)  # an answer without a word has no ROUGE-L
            gain = paired_difference(
                metric, first_R[known], second_R[known], level, clusters[known]
            )
            unit = F_MEASURE if metric == "rouge_l" else "share of records"
            results.append(measured_row(row, f"{metric}_gain", gain, unit=unit, n=int(known.sum())))
    return results


def paired_difference(
    metric: str, first_R: Array, second_R: Array, level: float, clusters: Array
) -> Interval:
    """Subtract one metric of paired records; clusters int[R]: near-duplicates."""
    if metric == "rouge_l" or len(np.unique(clusters)) < clusters.size:
        return bounded_interval(first_R - second_R, -1.0, 1.0, level, clusters=clusters)
    return paired_proportions(first_R.astype(bool), second_R.astype(bool), level)
