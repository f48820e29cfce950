"""The same number by group: members and nonmembers of each category, length or repetition count, with n and interval."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.by_group import between_row
from stillage.audit.membership import BLIND, is_cross_fitted
from stillage.audit.validity import chance_p
from stillage.data.grouping import cluster_numbers
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
    """The AUC within every group, with its interval; metric slice_auc, dataset the group's label, n its records.

    clusters int[n]: near-duplicates share a number and count as one draw; n_folds as in stats.auc_interval.
    Only members and nonmembers of one group are
    compared, so that a group's difficulty is no leak. A group that has only one kind, or no finite score, has a NaN and
    the reason in its note; scores that are not finite are counted there. The intervals are each
    group's own: with many groups some exclude 0.5 by chance (`with_p` allows for that).
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
        counts = f"{int(inside.sum())} members, {int((~inside).sum())} nonmembers"
        row = replace(base, metric="slice_auc", dataset=str(name), level=level, n=len(kept))
        row = replace(row, note=counts + (f"; {dropped} without score" if dropped else ""))
        try:
            near = None if clusters is None else clusters[here]
            found = auc_interval(kept, inside, level, clusters=near, n_folds=n_folds)
        except UserError:
            results.append(replace(row, value=math.nan, note=f"{row.note}; one kind only"))
        else:
            results.append(replace(row, value=found.value, low=found.low, high=found.high))
    return results


def aucs_of(
    scores: Array, is_member: Array, label_N: Array, clusters: Array
) -> list[Estimate | None]:
    """The AUC of every group on the scale of between.auc_estimate, of the records with a score."""
    fine = np.isfinite(scores)
    parts = [fine & (label_N == name) for name in sorted(set(label_N.tolist()))]
    return [auc_estimate(scores[here], is_member[here], clusters=clusters[here]) for here in parts]


def with_p(rows: Sequence[Result]) -> list[Result]:
    """The rows of by_slice; each note with p of AUC = 0.5 (from the interval) and adjusted for the number of groups.

    Benjamini and Hochberg over all rows that have a value: of the groups with "bh p" up to 0.05, at most 5 % are expected
    to be at chance. For exploration: groups of one column share no records, those of different columns do.
    """
    measured = [index for index, row in enumerate(rows) if not math.isnan(row.value)]
    limits = [
        Interval(value=r.value, low=r.low, high=r.high, level=r.level)
        for r in (rows[i] for i in measured)
    ]
    plain = np.array([chance_p(one) for one in limits])
    found = list(rows)
    for index, p, adjusted in zip(
        measured, plain.tolist(), benjamini_hochberg(plain).tolist(), strict=True
    ):
        note = f"{rows[index].note}; p={p:.3g}; bh p={adjusted:.3g} of {len(measured)}"
        found[index] = replace(rows[index], note=note)
    return found


def slice_labels(values: Sequence[str], column: str) -> list[str]:
    """Labels "column: value" for by_slice; numbers with many different values become quarters, rare values one group.

    A missing value is "(none)". More than MOST_NUMBERS different numbers: quarters by size. More than MOST_GROUPS other
    values: the most frequent ones, the rest together.
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
    """The values as float64, or None where one is no finite number."""
    try:
        numbers = np.array([float(value) for value in values])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(numbers: Array) -> list[str]:
    """Which quarter of the sorted numbers each lies in, with that quarter's range; equal numbers stay together."""
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
    """by_slice of every model's first scored attack; scores: audit/scores.parquet.

    labels: record id -> its label in each of `columns`, the columns asked for. p-values: with_p over
    all groups of a model.
    The blind attackers are sliced too: a group that they tell apart was not split fairly.
    """
    names = ("model", "attack", "id", "part", "group", "score")
    table = {name: scores.column(name).to_numpy(zero_copy_only=False) for name in names}
    results: list[Result] = []
    for model in dict.fromkeys(table["model"]):
        of_model = table["model"] == model
        attack = table["attack"][of_model][0]
        chosen = np.flatnonzero(of_model & (table["attack"] == attack))
        row = replace(base, model=str(model), attack=str(attack))
        of_record = [labels[id_] for id_ in table["id"][chosen]]
        member = table["part"][chosen] == "private"
        clusters = cluster_numbers(table["id"][chosen].tolist(), table["group"][chosen].tolist())
        n_folds = N_FOLDS if is_cross_fitted(str(model), str(attack)) else 0
        values, of_groups = table["score"][chosen], []
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
