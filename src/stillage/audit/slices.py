"""Results by group: category, length or repetition count, with n and interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.by_group import between_row
from stillage.audit.scores import BLIND, Scores, is_cross_fitted
from stillage.audit.validity import chance_p
from stillage.errors import DataError, UserError
from stillage.functional.between import Estimate, auc_estimate
from stillage.functional.multiplicity import benjamini_hochberg
from stillage.functional.stats import Interval, auc_interval
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

MOST_GROUPS = 20
MOST_NUMBERS = 8
NOTHING = Result(run="", stage="audit", model="", metric="", value=math.nan)


def by_slice(
    scores: Array,
    is_member: Array,
    labels: Sequence[str],
    *,
    clusters: Array | None = None,
    n_folds: int = 0,
    level: float = 0.95,
    base: Result = NOTHING,
) -> list[Result]:
    """Return the AUC within every group, with its interval.

    Metric slice_auc, dataset the group's label, n its records. clusters int[n]: near-duplicates
    share a number and count as one draw; n_folds as in stats.auc_interval. Only members and
    nonmembers of one group are compared, so that a group's difficulty is no leak. A group that has
    only one kind, or no finite score, has a NaN and its reason; scores that are not finite are
    missing. The intervals are each group's own: with many groups some exclude 0.5 by chance
    (`with_p` allows for that).
    """
    values, member, names = (
        np.asarray(scores, dtype=np.float64),
        np.asarray(is_member, dtype=bool),
        np.asarray(labels),
    )
    if not values.shape == member.shape == names.shape:
        raise DataError(
            "Slices need one label for each score.",
            f"{values.size} scores, {member.size} memberships, {names.size} labels",
            "Give one label per record.",
        )
    results = []
    for name in sorted(set(names.tolist())):
        here = (names == name) & np.isfinite(values)
        kept, inside, dropped = values[here], member[here], int((names == name).sum() - here.sum())
        row = replace(base, metric="slice_auc", dataset=str(name), level=level, n=len(kept))
        row = replace(row, n_members=int(inside.sum()), n_nonmembers=int((~inside).sum()))
        row = replace(row, missing=dropped)
        try:
            near = None if clusters is None else clusters[here]
            interval = auc_interval(kept, inside, level, clusters=near, n_folds=n_folds)
        except UserError:
            results.append(replace(row, value=math.nan, reason="one kind only"))
        else:
            results.append(replace(row, value=interval.value, low=interval.low, high=interval.high))
    return results


def aucs_of(
    scores: Array, is_member: Array, label_N: Array, clusters: Array
) -> list[Estimate | None]:
    """Return every group's AUC over scored records, on the scale of auc_estimate."""
    fine = np.isfinite(scores)
    parts = [fine & (label_N == name) for name in sorted(set(label_N.tolist()))]
    return [auc_estimate(scores[here], is_member[here], clusters=clusters[here]) for here in parts]


def with_p(rows: Sequence[Result]) -> list[Result]:
    """Give the rows of by_slice p of AUC = 0.5, and p adjusted for all groups.

    p is from the interval. Benjamini and Hochberg over all rows that have a value: of the groups
    with p_adjusted up to 0.05, at most 5 % are expected to be at chance. For exploration: groups of
    one column share no records, those of different columns do.
    """
    measured = [index for index, row in enumerate(rows) if not math.isnan(row.value)]
    limits = [
        Interval(value=r.value, low=r.low, high=r.high, level=r.level)
        for r in (rows[i] for i in measured)
    ]
    plain = np.array([chance_p(one) for one in limits])
    filled = list(rows)
    for index, p, adjusted in zip(
        measured, plain.tolist(), benjamini_hochberg(plain).tolist(), strict=True
    ):
        filled[index] = replace(rows[index], p=p, p_adjusted=adjusted, tests=len(measured))
    return filled


def slice_labels(values: Sequence[str], column: str) -> list[str]:
    """Return labels "column: value" for by_slice.

    A missing value is "(none)". More than MOST_NUMBERS different numbers: quarters by size. More
    than MOST_GROUPS other values: the most frequent ones, the rest together.
    """
    numbers = _numbers(values)
    if numbers is not None and len(set(numbers.tolist())) > MOST_NUMBERS:
        return [f"{column}: {label}" for label in _quarters(numbers)]
    counts = Counter(value or "(none)" for value in values)
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    kept = set(ordered if len(ordered) <= MOST_GROUPS else ordered[: MOST_GROUPS - 1])
    other = f"{len(ordered) - len(kept)} other values"
    shown = (value or "(none)" for value in values)
    return [f"{column}: {value if value in kept else other}" for value in shown]


def _numbers(values: Sequence[str]) -> Array | None:
    """Return the values as float64, or None where one is no finite number."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(numbers: Array) -> list[str]:
    """Return each number's quarter, in words with its range; equal numbers together."""
    edges = np.quantile(numbers, [0.25, 0.5, 0.75], method="lower")
    quarter = np.searchsorted(edges, numbers, side="left")
    ranges = {int(q): numbers[quarter == q] for q in np.unique(quarter)}
    shown = {q: f"quarter {q + 1} ({part.min():g} to {part.max():g})" for q, part in ranges.items()}
    return [shown[int(q)] for q in quarter]


def slice_results(
    scores: pa.Table,
    labels: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Return by_slice of every model's first scored attack.

    scores: audit/scores.parquet. labels: record id -> its label in each of `columns`, the columns
    asked for. p-values: with_p over all groups of a model. The blind attackers are sliced too: a
    group that they tell apart was not split fairly.
    """
    read, results = Scores(scores), list[Result]()
    for model in read.models:
        attack = read.attacks(model)[0]
        one = read.of(model, attack, with_missing=True)
        values, member, clusters = one.scores, one.is_member, one.clusters
        of_record = [labels[id_] for id_ in one.ids]
        row = replace(base, model=model, attack=attack)
        n_folds = N_FOLDS if is_cross_fitted(model, attack) else 0
        of_groups: list[Result] = []
        tests = []
        for column, names in zip(columns, zip(*of_record, strict=True), strict=True):
            of_column = by_slice(
                values, member, names, clusters=clusters, n_folds=n_folds, level=level, base=row
            )
            of_groups += of_column
            if model != BLIND:
                estimates = aucs_of(values, member, np.array(names), clusters)
                tests.append(between_row(replace(row, metric="slice_auc"), column, estimates))
        results += with_p(of_groups) + tests
    return results
