"""Rates, recitals and quality by group, each with a test whether groups differ.

Metrics: slice_tpr_at_fpr, slice_achieved_fpr, slice_extraction_rate, slice_NAME for a mean over
records; each with a row NAME_between_groups per column of labels, its value p. AUCs: slices.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.extraction import by_model_and_part
from stillage.audit.scores import Scores
from stillage.data.grouping import cluster_numbers
from stillage.errors import UserError
from stillage.functional.between import (
    Estimate,
    equal_over_groups,
    mean_estimate,
    share_estimate,
)
from stillage.functional.binomial import clustered_proportion
from stillage.functional.means import share_interval
from stillage.functional.stats import tpr_at_fpr
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

Labels = Mapping[str, Sequence[str]]
"""Record id -> its label in every column that is asked for, in order, each "column: value"."""
TRUTHS = ("exact_match", "needed_exact")
"""Columns of samples.parquet that say yes or no."""


def between_row(base: Result, column: str, groups: Sequence[Estimate | None]) -> Result:
    """Test that a column's groups do not differ in `base`; NaN for fewer than two."""
    p, n_groups = equal_over_groups([one for one in groups if one is not None])
    return replace(
        base,
        metric=f"{base.metric}_between_groups",
        dataset=column,
        value=p,
        low=math.nan,
        high=math.nan,
        n=n_groups,
        unit="p",
        reason="" if n_groups > 1 else "fewer than two groups",
    )


def by_group(
    values: Array,
    labels_N: Sequence[Sequence[str]],
    columns: Sequence[str],
    clusters: Array,
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return every group's mean with interval and n; then each column's test.

    values: bool[N], or numbers from 0 to 1. labels_N: of every record, one label for each of
    `columns`. Shares of records: the limits of binomial.clustered_proportion; other means those of
    means.share_interval. clusters int[N]: near-duplicates share a number and count once.
    """
    is_share = values.dtype == bool
    interval, estimate = (
        (clustered_proportion, share_estimate) if is_share else (share_interval, mean_estimate)
    )
    results = []
    for column, names in zip(columns, zip(*labels_N, strict=True), strict=True):
        of_group, estimates = np.array(names), []
        for name in sorted(set(names)):
            here = of_group == name
            mean = interval(values[here], level=level, clusters=clusters[here])
            estimates.append(estimate(values[here], clusters=clusters[here]))
            row = replace(base, dataset=name, level=level, n=int(here.sum()))
            results.append(replace(row, value=mean.value, low=mean.low, high=mean.high))
        results.append(between_row(base, column, estimates))
    return results


def rates_by_group(
    scores: pa.Table,
    labels: Labels,
    columns: Sequence[str],
    *,
    fprs: Sequence[float],
    level: float,
    base: Result,
) -> list[Result]:
    """Return the share of each group's members and of its nonmembers that is found.

    Of every model's first attack, at the threshold of all nonmembers; scores: audit/scores.parquet.
    The intervals are for this threshold: one attacker uses it for all groups. Rates that too few
    nonmembers allow are left out (the audit shows them as refused).
    """
    read, results = Scores(scores), list[Result]()
    for model in read.models:
        attack = read.attacks(model)[0]
        one = read.of(model, attack)
        values, member, clusters = one.scores, one.is_member, one.clusters
        of_record = [labels[id_] for id_ in one.ids]
        row = replace(base, model=model, attack=attack, unit="share of records")
        for fpr in fprs:
            try:
                threshold = tpr_at_fpr(values, member, fpr, level).threshold
            except UserError:
                continue
            for metric, side in (("slice_tpr_at_fpr", member), ("slice_achieved_fpr", ~member)):
                at = replace(row, metric=metric, fpr=fpr)
                here = [of_record[index] for index in np.flatnonzero(side)]
                results += by_group(
                    values[side] > threshold, here, columns, clusters[side], level=level, base=at
                )
    return results


def recitals_by_group(
    recited: pa.Table, labels: Labels, columns: Sequence[str], *, level: float, base: Result
) -> list[Result]:
    """Share recited by model, group and part; recited: audit/extraction.parquet."""
    results = []
    for (model, part), rows in by_model_and_part(recited).items():
        asked = rows["tokens"] > 0
        if not asked.any():
            continue
        row = replace(
            base, model=model, metric="slice_extraction_rate", unit="share of records", part=part
        )
        of_record = [labels[id_] for id_ in rows["id"][asked]]
        results += by_group(
            rows["exact"][asked].astype(bool),
            of_record,
            columns,
            rows["cluster"][asked],
            level=level,
            base=row,
        )
    return results


def quality_by_group(
    samples: pa.Table,
    metrics: Sequence[str],
    labels: Labels,
    columns: Sequence[str],
    group_of: Mapping[str, str],
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return every model's quality on the test records of each group.

    samples: evaluate/samples.parquet. metrics: columns of truths or numbers from 0 to 1; answers
    without a number are left out.
    """
    ids, model = (samples.column(name).to_numpy(zero_copy_only=False) for name in ("id", "model"))
    results = []
    for name in dict.fromkeys(model):
        for metric in metrics:
            values = samples.column(metric).to_numpy(zero_copy_only=False)
            kept = np.array([value is not None and value == value for value in values]) & (
                model == name
            )
            if not kept.any():
                continue
            here = ids[kept].tolist()
            chosen = values[kept].astype(bool if metric in TRUTHS else np.float64)
            clusters = cluster_numbers(here, [group_of.get(id_, "") for id_ in here])
            row = replace(base, model=str(name), metric=f"slice_{metric}")
            results += by_group(
                chosen, [labels[id_] for id_ in here], columns, clusters, level=level, base=row
            )
    return results
