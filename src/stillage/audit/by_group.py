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
from stillage.audit.group_labels import Labels
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
    ids: Sequence[str],
    clusters: Array,
    labels: Labels,
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return every group's mean with interval and n; then each column's test.

    values: bool[N], or numbers from 0 to 1, of the records `ids`. Shares of records: the limits of
    binomial.clustered_proportion; other means those of means.share_interval. clusters int[N]:
    near-duplicates share a number and count once.
    """
    interval, estimate = (
        (clustered_proportion, share_estimate)
        if values.dtype == bool
        else (share_interval, mean_estimate)
    )
    results = []
    for column, label_of in labels.items():
        label_N, estimates = np.array([label_of[id_] for id_ in ids]), []
        for name in np.unique(label_N).tolist():
            here = label_N == name
            mean = interval(values[here], level=level, clusters=clusters[here])
            estimates.append(estimate(values[here], clusters=clusters[here]))
            row = replace(base, dataset=name, level=level, n=int(here.sum()))
            results.append(replace(row, value=mean.value, low=mean.low, high=mean.high))
        results.append(between_row(base, column, estimates))
    return results


def rates_by_group(
    scores: pa.Table, labels: Labels, *, fprs: Sequence[float], level: float, base: Result
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
        row = replace(base, model=model, attack=attack, unit="share of records")
        for fpr in fprs:
            try:
                threshold = tpr_at_fpr(one.scores, one.is_member, fpr, level).threshold
            except UserError:
                continue
            for metric, side in (
                ("slice_tpr_at_fpr", one.is_member),
                ("slice_achieved_fpr", ~one.is_member),
            ):
                found, at = one.scores[side] > threshold, replace(row, metric=metric, fpr=fpr)
                ids, clusters = one.ids[side].tolist(), one.clusters[side]
                results += by_group(found, ids, clusters, labels, level=level, base=at)
    return results


def recitals_by_group(
    recited: pa.Table, labels: Labels, *, level: float, base: Result
) -> list[Result]:
    """Share recited by model, group and part; recited: audit/extraction.parquet."""
    row, results = replace(base, metric="slice_extraction_rate", unit="share of records"), []
    for (model, part), rows in by_model_and_part(recited).items():
        asked = rows["tokens"] > 0
        if asked.any():
            exact, ids, clusters = (rows[name][asked] for name in ("exact", "id", "cluster"))
            at = replace(row, model=model, part=part)
            results += by_group(
                exact.astype(bool), ids.tolist(), clusters, labels, level=level, base=at
            )
    return results


def quality_by_group(
    samples: pa.Table,
    metrics: Sequence[str],
    labels: Labels,
    group_of: Mapping[str, str],
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return every model's quality on the test records of each group.

    samples: evaluate/samples.parquet. metrics: columns of truths or numbers from 0 to 1; answers
    without a number are left out.
    """
    columns = {
        name: samples.column(name).to_numpy(zero_copy_only=False)
        for name in ("id", "model", *metrics)
    }
    results = []
    for model in dict.fromkeys(columns["model"].tolist()):
        for metric in metrics:
            values = columns[metric]
            known = np.array([value is not None and value == value for value in values])
            kept = known & (columns["model"] == model)
            if kept.any():
                ids = columns["id"][kept].tolist()
                clusters = cluster_numbers(ids, [group_of.get(id_, "") for id_ in ids])
                chosen = values[kept].astype(bool if metric in TRUTHS else np.float64)
                row = replace(base, model=model, metric=f"slice_{metric}")
                results += by_group(chosen, ids, clusters, labels, level=level, base=row)
    return results
