"""The finished points of the grid: what each attack scored, and what the students recite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from stillage.audit.compare import RunScores, auc_over_seeds, scored_by_all
from stillage.data.grouping import cluster_numbers
from stillage.functional.binomial import independent_difference
from stillage.functional.means import bounded_interval
from stillage.functional.stats import Interval
from stillage.report.finished_runs import candidate, run_scores
from stillage.run.folder import read_json, read_table
from stillage.run.results import read_results
from stillage.types import Result

TEACHER, STUDENT, NO_TEACHER = "teacher", "student", "student_no_teacher"


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A cell of the published table."""

    family: str
    size: str
    method: str


Grid = Mapping[Place, Sequence[Path]]
"""Place -> its finished runs, one per seed."""


def finished(out: Path) -> tuple[Grid, list[str]]:
    """The grid as far as it is done, and the names of the points that are not finished."""
    runs: dict[Place, list[Path]] = {}
    missing = []
    for point in read_json(out / "sweep.json")["points"]:
        values, run = point["values"], out / point["name"]
        if (run / "report" / "results.parquet").is_file():
            place = Place(*(values[f"cases.{axis}"] for axis in ("family", "size", "method")))
            runs.setdefault(place, []).append(run)
        else:
            missing.append(point["name"])
    return runs, missing


@cache
def results(run: Path) -> tuple[Result, ...]:
    """Every number of a run."""
    return tuple(read_results(run / "report" / "results.parquet"))


def attacks_on(run: Path, model: str) -> list[str]:
    """The attacks whose AUC on the model is known, in the order they were asked for; blind ones see no model."""
    return [r.attack for r in results(run) if (r.metric, r.model) == ("auc", model)]


@cache
def scores(run: Path, model: str, attack: str) -> RunScores:
    """One attack on one model of a run."""
    return run_scores(candidate(run, run.name), model, attack)


@cache
def categories(run: Path) -> Mapping[str, str]:
    """Record id -> its task category."""
    table = read_table(run / "data" / "records.parquet")
    return {
        row["id"]: json.loads(row["meta"])["category"]
        for row in table.select(["id", "meta"]).to_pylist()
    }


def auc(runs: Sequence[Path], model: str, attack: str, category: str = "") -> Interval:
    """Members against nonmembers (of one category, if given), pooled over the seeds; near-duplicates count once."""
    found = [scores(run, model, attack) for run in runs]
    if category:
        found = [
            of_category(one, categories(run), category)
            for one, run in zip(found, runs, strict=True)
        ]
    return auc_over_seeds(scored_by_all([(run,) for run in found]), model, attack)


def of_category(one: RunScores, category_of: Mapping[str, str], category: str) -> RunScores:
    """The records of one category."""
    rows = [row for row, id_ in enumerate(one.ids) if category_of[id_] == category]
    return replace(
        one,
        ids=tuple(one.ids[row] for row in rows),
        groups=tuple(one.groups[row] for row in rows),
        is_member=one.is_member[rows],
        scores=one.scores[rows],
    )


@cache
def recitals(run: Path) -> tuple[Mapping, ...]:
    """What each model recites of each member and nonmember that has a token to recite."""
    rows = read_table(run / "audit" / "memorization.parquet").to_pylist()
    sides = ("private", "nonmembers")
    return tuple(
        row for row in rows if row["part"] in sides and np.isfinite(row["positional_accuracy"])
    )


def recited(runs: Sequence[Path], model: str, category: str = "") -> tuple[float, float, Interval]:
    """Positional accuracy over the first 32 tokens of the answer: of members, of nonmembers, and their difference.

    Of one category, if given.

    The interval is over the records of all seeds, near-duplicates counted once: the limits of both means
    (bounded_interval), put together by independent_difference.
    """
    rows = [
        row
        for run in runs
        for row in recitals(run)
        if row["model"] == model and not (category and categories(run)[row["id"]] != category)
    ]
    is_member = np.array([row["part"] == "private" for row in rows])
    x = np.array([row["positional_accuracy"] for row in rows])
    clusters = cluster_numbers([row["id"] for row in rows], [row["group"] for row in rows])
    inside, outside = (
        bounded_interval(x[side], 0.0, 1.0, clusters=clusters[side])
        for side in (is_member, ~is_member)
    )
    return inside.value, outside.value, independent_difference(inside, outside)
