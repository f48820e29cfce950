"""Finished runs by variant: what each scored, and how good it is. No torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from stillage.audit.compare import RunScores
from stillage.audit.scores import Scores
from stillage.errors import DataError
from stillage.evaluate.metric_ranges import within_range
from stillage.functional.stats import mean_interval
from stillage.run.config import Config
from stillage.run.folder import changed_file, read_json, read_table
from stillage.run.parse import HARMLESS, flat_values, written_settings
from stillage.run.results import read_results
from stillage.run.stages import read_manifest
from stillage.run.store import check_store
from stillage.types import Result

METRICS = ("rouge_l", "exact_match", "needed_exact")
"""Numbers from 0 to 1: by record in evaluate/samples.parquet, means in evaluate/results.parquet."""
RECORDS = {"audit": "audit/scores.parquet", "evaluate": "evaluate/samples.parquet"}
"""Where a stage keeps a number of every record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A run folder that was given, by itself or as a point of a grid."""

    folder: Path
    name: str  # of its variant: the point's values without the seed, or the folder's name
    settings: Mapping[str, object]  # everything that decides its numbers, but the seed
    attacks: tuple[str, ...]  # as configured, the primary one first
    seed: int
    verdict: str  # of the audit's checks
    is_audited: bool = True


def compared_runs(folders: Sequence[Path]) -> tuple[list[Candidate], list[Path]]:
    """Sort folders and the points of grids into finished runs and unfinished ones.

    A run is finished when its audit is. One that asks for no audit, or any where no run was
    audited, is finished when its evaluation is. DataError for a folder that is neither run nor
    grid, a run given by itself that is not finished, and a point without its store.
    """
    given: list[tuple[Path, str, bool]] = []  # run, name of its variant, is it a point of a grid
    for folder in folders:
        if (folder / "sweep.json").is_file():
            given += [
                (folder / point["name"], variant_name(point["values"]) or folder.name, True)
                for point in read_json(folder / "sweep.json")["points"]
            ]
        elif not (folder / "config.yaml").is_file():
            raise DataError(
                f"{folder} is neither a run nor a grid.",
                "looked for: config.yaml, sweep.json",
                "Give the folders of finished runs (--out), or of a config with `sweep:`.",
            )
        else:
            given.append((folder, folder.resolve().name, False))
    for run, _, _ in given:
        check_store(run)
    nobody = not any(is_done(run, "audit") for run, _, _ in given)
    found: list[Candidate] = []
    unfinished: list[Path] = []
    for run, name, is_point in given:
        if is_done(run, "audit") or (
            is_done(run, "evaluate") and (nobody or not asks_for_audit(run))
        ):
            found.append(candidate(run, name))
        elif is_point:
            unfinished.append(run)
        else:
            stage, noun = ("audit", "audit") if asks_for_audit(run) else ("evaluate", "evaluation")
            raise DataError(
                f"{run} has no finished {noun}.",
                f"{stage}: {what_is_wrong(run, stage)}",
                f"Finish it first: stillage {stage} {run}",
            )
    return found, unfinished


def variant_name(values: Mapping[str, str]) -> str:
    """Name a variant by a point's values without the seed."""
    return ", ".join(
        f"{path.rsplit('.', 1)[-1]}={value}" for path, value in values.items() if path != "seed"
    )


def is_done(run: Path, stage: str) -> bool:
    """Tell whether the audit, or the evaluation, has been done to its end."""
    return not what_is_wrong(run, stage) and (run / RECORDS[stage]).is_file()


def what_is_wrong(run: Path, stage: str) -> str:
    """Say why a stage's tables cannot be read; empty where they can."""
    manifest = read_manifest(run / stage)
    if manifest is None or not (run / "config.yaml").is_file():
        return "not done yet"
    return changed_file(run / stage, manifest["files"])


def asks_for_audit(run: Path) -> bool:
    """Tell whether the run's configuration has an audit."""
    return "audit" in written_settings(run).get("stages", Config().stages)


def candidate(run: Path, name: str) -> Candidate:
    """Read a finished run's configuration and verdict."""
    flat = flat_values(written_settings(run))
    settings = {
        path: value for path, value in flat.items() if not path.startswith((*HARMLESS, "threads"))
    }
    seed, attacks = settings.pop("seed", "0"), settings.get("audit.attacks", ())
    named = tuple(map(str, attacks)) if isinstance(attacks, list) else ()
    checks = run / "audit" / "validity.json"
    verdict = str(read_json(checks)["verdict"]) if checks.is_file() else "unchecked"
    return Candidate(
        folder=run,
        name=name,
        settings=settings,
        attacks=named,
        seed=int(str(seed)),
        verdict=verdict,
        is_audited=is_done(run, "audit"),
    )


def variants(found: Sequence[Candidate], least: int = 2) -> dict[str, list[Candidate]]:
    """Put runs together whose settings differ in the seed alone, by name and seed.

    Names that two variants share become paths. DataError for fewer than `least`, or one seed of one
    given twice.
    """
    alike: list[list[Candidate]] = []
    for one in found:
        group = next((group for group in alike if group[0].settings == one.settings), None)
        if group is None:
            group = []
            alike.append(group)
        for other in group:
            if other.seed == one.seed:
                raise DataError(
                    "Two of the runs are one and the same experiment.",
                    f"{other.folder} and {one.folder}: seed {one.seed} and equal settings",
                    "Give each run once.",
                )
        group.append(one)
    if len(alike) < least:
        raise DataError(
            "There is nothing to compare: at least two finished runs must differ in more than the "
            "seed.",
            f"finished: {', '.join(str(one.folder) for one in found) or 'none'}",
            "Give more runs, or finish the grid with the command that started it.",
        )
    names = [first.name for first, *_ in alike]
    return {
        group[0].name if names.count(group[0].name) == 1 else str(group[0].folder): sorted(
            group, key=lambda one: one.seed
        )
        for group in alike
    }


def primary(found: Sequence[Candidate]) -> str:
    """Name the attack that the first run names first (DataError: none)."""
    if not found[0].attacks:
        raise DataError(
            "No attack is named in the configuration.",
            str(found[0].folder),
            "Choose one with --attack.",
        )
    return found[0].attacks[0]


def run_scores(one: Candidate, model: str, attack: str) -> RunScores:
    """Read a run's scores in the order of the record ids (DataError: none)."""
    scores = Scores(read_table(one.folder / RECORDS["audit"]))
    if (model, attack) not in scores.pairs:
        fits = (
            f"attacks on {model}: {', '.join(scores.attacks(model))}"
            if model in scores.models
            else f"models: {', '.join(scores.models)}"
        )
        raise DataError(
            f"The audit of {one.folder} has no scores of the {attack} attack on {model}.",
            fits,
            "Choose with --model and --attack.",
        )
    found = scores.of(model, attack, with_missing=True)
    order = np.argsort(found.ids.astype(str), kind="stable")
    return RunScores(
        run=str(one.folder),
        seed=one.seed,
        ids=tuple(found.ids[order].tolist()),
        groups=tuple(found.groups[order].tolist()),
        is_member=found.is_member[order],
        scores=found.scores[order].astype(np.float64),
    )


def record_values(one: Candidate, model: str, metric: str) -> RunScores | None:
    """Read a number of every record that the model answered, by id; None without."""
    if not is_done(one.folder, "evaluate"):
        return None
    table = read_table(one.folder / RECORDS["evaluate"])
    if metric not in table.column_names:
        return None
    columns = (table.column(name).to_pylist() for name in ("id", "model", metric))
    rows = sorted(
        (str(id_), float(value))
        for id_, whose, value in zip(*columns, strict=True)
        if whose == model and value is not None and not math.isnan(value)  # no word: no ROUGE-L
    )
    if not rows:
        return None
    groups = group_names(one.folder)
    return RunScores(
        run=str(one.folder),
        seed=one.seed,
        ids=tuple(id_ for id_, _ in rows),
        groups=tuple(groups.get(id_, "") for id_, _ in rows),
        is_member=np.zeros(len(rows), dtype=bool),
        scores=np.array([value for _, value in rows]),
    )


def group_names(run: Path) -> dict[str, str]:
    """Find the group of near-duplicates of every record that is not alone, by id."""
    path = run / "data" / "records.parquet"
    table = read_table(path) if path.is_file() else None
    if table is None or "group" not in table.column_names:
        return {}
    pairs = zip(table.column("id").to_pylist(), table.column("group").to_pylist(), strict=True)
    return {id_: group for id_, group in pairs if group}


def quality_results(
    name: str, runs: Sequence[Candidate], *, level: float, base: Result
) -> list[Result]:
    """Average quality, validation loss and trained tokens over a variant's seeds.

    By Student's t where there are several; one seed keeps its own intervals. A number that a run
    lacks (a given model was not trained) gives no row.
    """
    row = replace(base, method=name, attack="", level=level, n=len(runs), seeds=len(runs), unit="")
    results = []
    for metric, read in QUALITY.items():
        read_values = (read(run.folder, base.model) for run in runs)
        values = [value for value in read_values if value is not None]
        if len(values) < len(runs):
            continue
        if len(values) == 1:
            results.append(replace(values[0], run="", stage=base.stage, method=name, seeds=1))
            continue
        mean = within_range(
            metric, mean_interval(np.array([value.value for value in values]), level)
        )
        pooled = replace(row, metric=metric, value=mean.value, low=mean.low, high=mean.high)
        if math.isnan(mean.low):
            pooled = replace(pooled, reason="the same in all seeds")
        results.append(pooled)
    return results


def measured(metric: str, run: Path, model: str) -> Result | None:
    """Read a mean that the run's evaluation measured on test records."""
    path = run / "evaluate" / "results.parquet"
    rows = read_results(path) if path.is_file() else []
    asked = (metric, model, "test")
    return next((row for row in rows if (row.metric, row.model, row.dataset) == asked), None)


def summed_up(metric: str, run: Path, model: str) -> Result | None:
    """Read what a model's training wrote down; None where the run did not train it."""
    path = run / model / "summary.json"
    summary = read_json(path) if path.is_file() else {}
    # the validation loss of the weights that were audited: those of the last step, or the best
    is_best = metric == "validation_loss" and summary.get("model_step") != summary.get("steps")
    value = summary.get(f"best_{metric}" if is_best else metric)
    if value is None:
        return None
    unit = UNITS[metric]
    return Result(run="", stage="", model=model, metric=metric, value=float(value), n=1, unit=unit)


UNITS = {"validation_loss": "nats per token", "trained_tokens": "tokens"}
QUALITY: Mapping[str, Callable[[Path, str], Result | None]] = {
    **{metric: partial(measured, metric) for metric in METRICS},
    **{metric: partial(summed_up, metric) for metric in UNITS},
}
"""What stands beside a variant's leakage, and where a run keeps it."""
