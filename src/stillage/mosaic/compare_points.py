"""From scores to the table of points: AUC, worth in exact copies, rho."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.functional.binomial import Interval
from stillage.functional.delong import auc_interval
from stillage.functional.equivalence import FLAGS
from stillage.functional.equivalence_intervals import EquivalenceIntervals, rho_intervals
from stillage.mosaic.condition import Condition, ExperimentPoint
from stillage.mosaic.condition_means import (
    ConditionTables,
    condition_means,
    has_lost_copies,
    held_canaries,
)
from stillage.mosaic.table_columns import POINTS, table_schema
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

METRICS = {
    "auc": ("auc", ""),
    "copies": ("equivalent_copies", "exact copies"),
    "rho": ("rho", "exact copies"),
    "rho_isotonic": ("rho_isotonic", "exact copies"),
}
"""Column of POINTS -> metric and unit of a result, for each attack."""
RECITED = {"bleu": "recital_bleu", "edit_similarity": "recital_edit_similarity"}
"""Column of POINTS -> metric of a result, once for each point."""
NO_VALUE = ("no_curve", "no_upper_limit", "not_judged")
"""Flags that are the reason why a result has no value or no limit, or says nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One point under one attack, on the canaries that all its conditions scored."""

    point: ExperimentPoint
    attack: str
    canaries_C: Array  # int64, ascending
    is_member_C: Array  # bool
    scores_C: Array
    curve_NC: Array | None  # scores after 1..N exact copies; None: there is no curve to read
    flags: tuple[str, ...]

    @property
    def members(self) -> Array:
        """The members among the canaries."""
        return self.canaries_C[self.is_member_C]

    @property
    def has_both(self) -> bool:
        """Whether there are members and nonmembers left to tell apart."""
        return bool(self.is_member_C.any() and not self.is_member_C.all())


def compare_points(
    experiment: str,
    points: Sequence[ExperimentPoint],
    found: Mapping[Condition, ConditionTables],
    *,
    copies: int,
    level: float,
    resamples: int,
    seed: int,
) -> pa.Table:
    """Compare an experiment's points with their exact curves.

    Returns POINTS, a row a point and attack. found: the tables of every condition that was trained;
    a point's curve is its arm's and method's with 1 .. `copies` exact copies. A point and its curve
    are compared on the canaries that all of them scored, and of members on those that the point's
    documents hold; what is left out is flagged. Points of exact copies have an AUC alone. Canaries
    are drawn again as rho_intervals says, alike for all points of a seed. Flags are names of
    functional.equivalence.FLAGS.
    """
    import pyarrow as pa

    scores = _scores_of(found)
    lossy = {condition for condition, tables in found.items() if has_lost_copies(tables)}
    compared = [
        _compared(point, attack, found[point.condition], scores, lossy, copies)
        for point in points
        for condition, attack in scores
        if condition == point.condition
    ]
    worth = _worth(compared, level=level, resamples=resamples, seed=seed)
    rows: list[dict[str, object]] = []
    for one, equivalence in zip(compared, worth, strict=True):
        tables, members = found[one.point.condition], one.members
        means, flags = condition_means(one.point.condition, tables, members, level)
        row = {
            "experiment": experiment,
            "series": one.point.series,
            "x": one.point.x,
            "label": one.point.label,
            "condition": tables.stage,
            "attack": one.attack,
            "members": members.size,
            "nonmembers": one.canaries_C.size - members.size,
            **(
                _columns("auc", auc_interval(one.scores_C, one.is_member_C, level))
                if one.has_both
                else {}
            ),
            **({} if equivalence is None else _rho_columns(equivalence)),
            **means,
        }
        said = (*(equivalence.flags if equivalence else ()), *one.flags, *flags)
        rows.append({**row, "flags": list(said)})
    return pa.Table.from_pylist(rows, schema=table_schema(POINTS))


def point_results(table: pa.Table, base: Result) -> list[Result]:
    """Make results of a table of points: auc, equivalents, rho both ways, recitals.

    model: the condition; dataset: "experiment: place in its figure". A number that a point does not
    have gives no result; what hinders it is its reason, the other flags its note.
    """
    results: list[Result] = []
    recited = set()
    for row in table.to_pylist():
        place = [row["series"], row["label"] or f"{row['x']:g}"]
        one = replace(
            base,
            model=row["condition"],
            dataset=f"{row['experiment']}: {', '.join(word for word in place if word)}",
            n=row["members"] + row["nonmembers"],
            n_members=row["members"],
            n_nonmembers=row["nonmembers"],
        )
        for column, (metric, unit) in METRICS.items():
            if row[column] is not None:
                flags = [] if column == "auc" else row["flags"]
                of_attack = replace(
                    one,
                    attack=row["attack"],
                    reason=" ".join(FLAGS[flag] for flag in flags if flag in NO_VALUE),
                    note=" ".join(FLAGS[flag] for flag in flags if flag not in NO_VALUE),
                )
                results.append(
                    measured_row(of_attack, metric, _limits(row, column, base.level), unit=unit)
                )
        if one.dataset not in recited:
            recited.add(one.dataset)
            results += [
                measured_row(
                    replace(one, n_nonmembers=0),
                    metric,
                    _limits(row, column, base.level),
                    n=row["members"],
                )
                for column, metric in RECITED.items()
                if row[column] is not None
            ]
    return results


def _scores_of(
    found: Mapping[Condition, ConditionTables],
) -> dict[tuple[Condition, str], dict[int, float]]:
    """Read the scores of each condition and attack by canary, without what has none."""
    scores: dict[tuple[Condition, str], dict[int, float]] = {}
    for condition, tables in found.items():
        columns = (tables.scores[name].to_pylist() for name in ("attack", "canary", "score"))
        for attack, canary, score in zip(*columns, strict=True):
            by_canary = scores.setdefault((condition, attack), {})
            if score is not None and math.isfinite(score):
                by_canary[canary] = score
    return scores


def _compared(
    point: ExperimentPoint,
    attack: str,
    tables: ConditionTables,
    scores: Mapping[tuple[Condition, str], Mapping[int, float]],
    lossy: Collection[Condition],
    copies: int,
) -> Compared:
    """Choose the canaries that a point and its curve have in common."""
    curve = [(replace(point.curve, exact=count), attack) for count in range(1, copies + 1)]
    flags = []
    if point.condition.kind is None:
        curve = []
    elif any(one not in scores for one in curve):
        curve, flags = [], ["no_curve"]
    is_lossy = any(one in lossy for one in (point.condition, *(one for one, _ in curve)))
    flags += ["copies_lost"] * is_lossy
    own = scores[point.condition, attack]
    asked = dict(
        zip(*(tables.scores[name].to_pylist() for name in ("canary", "role")), strict=True)
    )
    held = held_canaries(tables)
    compared = {
        canary: role == "member"
        for canary, role in sorted(asked.items())
        if held is None or role != "member" or canary in held
    }
    kept = [one for one in compared if one in own and all(one in scores[key] for key in curve)]
    flags += ["some_members"] * (len(compared) < len(asked))
    flags += ["missing_scores"] * (len(kept) < len(compared))
    return Compared(
        point=point,
        attack=attack,
        canaries_C=np.array(kept, dtype=np.int64),
        is_member_C=np.array([compared[one] for one in kept], dtype=bool),
        scores_C=np.array([own[one] for one in kept]),
        curve_NC=np.array([[scores[key][one] for one in kept] for key in curve]) if curve else None,
        flags=tuple(flags),
    )


def _worth(
    compared: Sequence[Compared], *, level: float, resamples: int, seed: int
) -> list[EquivalenceIntervals | None]:
    """Read each point off its curve; those with one curve and the same canaries at once."""
    groups: dict[tuple[Condition, str, bytes], list[int]] = {}
    for index, one in enumerate(compared):
        if one.curve_NC is not None and one.has_both:
            key = one.point.curve, one.attack, one.canaries_C.tobytes()
            groups.setdefault(key, []).append(index)
    worth: list[EquivalenceIntervals | None] = [None] * len(compared)
    for indices in groups.values():
        first = compared[indices[0]]
        assert first.curve_NC is not None
        read = rho_intervals(
            first.curve_NC,
            np.stack([compared[index].scores_C for index in indices]),
            first.is_member_C,
            resamples=resamples,
            seed=seed,
            level=level,
        )
        for index, one in zip(indices, read, strict=True):
            worth[index] = one
    return worth


def _rho_columns(worth: EquivalenceIntervals) -> dict[str, object]:
    """Give the columns of what a point is worth."""
    return {
        "copies": worth.copies.value,
        **_columns("rho", worth.rho),
        **_columns("rho_isotonic", worth.rho_isotonic),
        "branch": worth.published.branch,
    }


def _columns(name: str, interval: Interval) -> dict[str, object]:
    """Give a number's columns; null for what it does not have."""
    numbers = {"": interval.value, "_low": interval.low, "_high": interval.high}
    return {name + end: None if math.isnan(one) else one for end, one in numbers.items()}


def _limits(row: Mapping[str, Any], column: str, level: float) -> Interval:
    """Read a number and its limits back; NaN for null."""
    value, low, high = (
        math.nan if row.get(column + end) is None else row[column + end]
        for end in ("", "_low", "_high")
    )
    return Interval(value=value, low=low, high=high, level=level)
