"""The finished points of the grid: what each attack scored, and what the students recite."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from stillage.audit.compare import RunScores, by_seed, scored_by_all
from stillage.data.groups import cluster_numbers
from stillage.experiment.compare import candidate, run_scores
from stillage.functional.stats import Interval, PairedTest, mean_interval, pooled_auc_interval, pooled_auc_test
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
    return {row["id"]: json.loads(row["meta"])["category"] for row in table.select(["id", "meta"]).to_pylist()}


def auc(runs: Sequence[Path], model: str, attack: str, category: str = "") -> Interval:
    """Members against outsiders (of one category, if given), pooled over the seeds; near-duplicates count once."""
    found = [scores(run, model, attack) for run in runs]
    kept, _ = scored_by_all([(one,) for one in found])
    if category:
        kept = [
            fine & np.array([categories(run)[id_] == category for id_ in one.ids])
            for run, one, fine in zip(runs, found, kept, strict=True)
        ]
    return pooled_auc_interval(
        [(one.scores[fine], one.is_member[fine]) for one, fine in zip(found, kept, strict=True)],
        clusters=[one.clusters[fine] for one, fine in zip(found, kept, strict=True)],
    )


def auc_difference(a: Sequence[RunScores], b: Sequence[RunScores]) -> PairedTest:
    """AUC(a) - AUC(b) on the same records, pooled over the seeds that both have."""
    pairs = by_seed(a, b)
    kept, _ = scored_by_all(pairs)
    return pooled_auc_test(
        [(x.scores[fine], y.scores[fine], x.is_member[fine]) for (x, y), fine in zip(pairs, kept, strict=True)],
        clusters=[x.clusters[fine] for (x, _), fine in zip(pairs, kept, strict=True)],
    )


@cache
def recitals(run: Path) -> tuple[Mapping, ...]:
    """What each model recites of each member and outsider that has a token to recite."""
    rows = read_table(run / "audit" / "memorization.parquet").to_pylist()
    sides = ("private", "outsiders")
    return tuple(row for row in rows if row["role"] in sides and np.isfinite(row["positional_accuracy"]))


def recited(runs: Sequence[Path], model: str, category: str = "") -> tuple[float, float, Interval]:
    """Positional accuracy over the first 32 tokens of the answer: of members, of outsiders, and their difference.

    Of one category, if given.

    The interval is over the records of all seeds, near-duplicates counted once: mean_interval of each record's influence
    on the difference, d + (N / n_side) (x - mean_side), with the outsiders' sign turned.
    """
    rows = [
        row for run in runs for row in recitals(run)
        if row["model"] == model and not (category and categories(run)[row["id"]] != category)
    ]  # fmt: skip
    is_member = np.array([row["role"] == "private" for row in rows])
    x = np.array([row["positional_accuracy"] for row in rows])
    members, outsiders = float(x[is_member].mean()), float(x[~is_member].mean())
    deviation = np.where(is_member, (x - members) / is_member.sum(), -(x - outsiders) / (~is_member).sum())
    clusters = cluster_numbers([row["id"] for row in rows], [row["group"] for row in rows])
    gap = mean_interval(members - outsiders + x.size * deviation, clusters=clusters)
    return members, outsiders, gap
