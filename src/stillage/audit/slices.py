"""AUCs by group: category, length or repetitions; slice_auc and its test.

Only members and nonmembers of one group are compared, so that a group's difficulty is no leak.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.by_group import between_row
from stillage.audit.group_labels import Labels
from stillage.audit.scores import BLIND, Scored, Scores
from stillage.audit.validity import chance_p
from stillage.errors import UserError
from stillage.functional.between import auc_estimate
from stillage.functional.multiplicity import benjamini_hochberg
from stillage.functional.stats import Interval, auc_interval
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa


def slice_results(scores: pa.Table, labels: Labels, *, level: float, base: Result) -> list[Result]:
    """Return `by_slice` of every model's first attack, with a test per column.

    scores: audit/scores.parquet. p-values: with_p over all groups of a model. The blind attackers
    are sliced too, without a test: a group that they tell apart was not split fairly.
    """
    read, results = Scores(scores), list[Result]()
    for model in read.models:
        attack = read.attacks(model)[0]
        scored = read.of(model, attack, with_missing=True)
        row = replace(base, model=model, attack=attack, metric="slice_auc")
        of_groups: list[Result] = []
        tests: list[Result] = []
        for column, label_of in labels.items():
            label_N = np.array([label_of[id_] for id_ in scored.ids])
            of_groups += by_slice(scored, label_N, level, row)
            if model != BLIND:
                fine = np.isfinite(scored.scores)
                sides = (fine & (label_N == name) for name in np.unique(label_N))
                estimates = [
                    auc_estimate(
                        scored.scores[here], scored.is_member[here], clusters=scored.clusters[here]
                    )
                    for here in sides
                ]
                tests.append(between_row(row, column, estimates))
        results += with_p(of_groups) + tests
    return results


def by_slice(scored: Scored, label_N: Array, level: float, base: Result) -> list[Result]:
    """Return the AUC within every group, with its interval; dataset: the group.

    A group that has only one kind, or no finite score, has a NaN and its reason; scores that are
    not finite are missing. The intervals are each group's own: with many groups some exclude 0.5 by
    chance (`with_p` allows for that).
    """
    results = []
    for name in np.unique(label_N).tolist():
        here = (label_N == name) & np.isfinite(scored.scores)
        inside = scored.is_member[here]
        row = replace(
            base,
            metric="slice_auc",
            dataset=name,
            level=level,
            n=inside.size,
            n_members=int(inside.sum()),
            n_nonmembers=int((~inside).sum()),
            missing=int((label_N == name).sum()) - inside.size,
        )
        try:
            auc = auc_interval(
                scored.scores[here],
                inside,
                level,
                clusters=scored.clusters[here],
                n_folds=scored.n_folds,
            )
        except UserError:
            results.append(replace(row, value=math.nan, reason="one kind only"))
        else:
            results.append(measured_row(row, "slice_auc", auc))
    return results


def with_p(rows: Sequence[Result]) -> list[Result]:
    """Give the rows of by_slice p of AUC = 0.5, and p adjusted for all groups.

    p is from the interval. Benjamini and Hochberg over all rows that have a value: of the groups
    with p_adjusted up to 0.05, at most 5 % are expected to be at chance. For exploration: groups of
    one column share no records, those of different columns do.
    """
    measured = [index for index, row in enumerate(rows) if not math.isnan(row.value)]
    limits = [
        Interval(value=row.value, low=row.low, high=row.high, level=row.level)
        for row in (rows[index] for index in measured)
    ]
    p_G = np.array([chance_p(one) for one in limits])
    filled = list(rows)
    for index, p, adjusted in zip(
        measured, p_G.tolist(), benjamini_hochberg(p_G).tolist(), strict=True
    ):
        filled[index] = replace(rows[index], p=p, p_adjusted=adjusted, tests=len(measured))
    return filled
