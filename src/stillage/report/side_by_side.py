"""Finished runs side by side: leakage, quality, and what was unequal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stillage.audit.compare import RunScores, beyond_controls, compare, compare_means
from stillage.audit.control_models import CONTROLS_OF, OF_STUDENTS
from stillage.errors import DataError
from stillage.report.cells import thousands
from stillage.report.finished_runs import (
    METRICS,
    Candidate,
    compared_runs,
    primary,
    quality_results,
    record_values,
    run_scores,
    variants,
)
from stillage.types import Result

NEEDED, NEEDED_ATTACK = "needed_exact", "loss_needed"
ENOUGH_SEEDS = 4  # with fewer a t interval over seeds is 2 to 6 times as wide as with many
UNEQUAL = 1.25  # ratio of trained tokens beyond which it is said


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBySide:
    """Variants of one experiment, every number, and what else must be known."""

    variants: Mapping[str, Sequence[Candidate]]
    results: tuple[Result, ...]
    model: str
    attack: str  # empty: nothing was audited
    level: float
    unfinished: tuple[Path, ...]
    said: tuple[str, ...]  # a line each

    @property
    def seeds(self) -> dict[str, list[int]]:
        """The seeds of each variant's runs."""
        return {name: [one.seed for one in runs] for name, runs in self.variants.items()}

    @property
    def doubtful(self) -> list[str]:
        """The audited variants of which a run did not pass the audit's checks."""
        return [
            name
            for name, runs in self.variants.items()
            if any(one.is_audited and one.verdict != "valid" for one in runs)
        ]


def side_by_side(
    folders: Sequence[Path],
    *,
    model: str = "",
    attack: str = "",
    level: float = 0.95,
    is_strict: bool = True,
) -> SideBySide:
    """Compare finished runs and points of grids on the same records.

    Leakage and quality, by paired tests. model: whose; empty: the student's, or the teacher's where
    no run has a student. attack: empty: the primary one. is_strict: DataError for fewer than two
    variants, a pair that cannot be compared, or a model or attack that was not audited; otherwise
    that is said, and what can be compared is.
    """
    found, unfinished = compared_runs(folders)
    named = variants(found, least=2 if is_strict else 1)
    model = model or compared_model(found)
    audited = {name: runs for name, runs in named.items() if all(one.is_audited for one in runs)}
    said: list[str] = []
    results: list[Result] = []
    attack = (
        (attack or primary([one for runs in audited.values() for one in runs])) if audited else ""
    )
    base = Result(run="", stage="compare", model=model, metric="", value=math.nan, attack=attack)
    refused: list[DataError] | None = None if is_strict else []
    ends = needed_ends(found)
    try:
        if attack == NEEDED_ATTACK and len(ends) > 1:
            raise DataError(
                f"The {attack} attack does not read the same part of a response in all runs.",
                f"data.needed_until: {', '.join(ends)}",
                "Compare runs with one data.needed_until, or another attack (--attack).",
            )
        scores = {
            name: [run_scores(one, model, attack) for one in runs] for name, runs in audited.items()
        }
        results += compare(scores, level=level, base=base, refused=refused) if scores else []
        for name, runs in audited.items():
            controls = control_scores(runs, model, attack)
            results += beyond_controls(name, scores[name], controls, level=level, base=base)
    except DataError as error:
        if is_strict:
            raise
        said.append(f"leakage is not compared: {error.what} ({error.values})")
    for name, runs in named.items():
        results += quality_results(name, runs, level=level, base=base)
    apart = None if is_strict and not audited else []
    results += quality_differences(named, model, level, base, apart)
    if len(ends) > 1:
        results = [row for row in results if row.metric.removesuffix("_difference") != NEEDED]
        said.append(
            f"the needed part does not end alike ({', '.join(ends)}), so that its share right is "
            "not compared"
        )
    said += not_compared("leakage", refused) + not_compared("quality", apart)
    return SideBySide(
        variants=named,
        results=tuple(results),
        model=model,
        attack=attack,
        level=level,
        unfinished=tuple(unfinished),
        said=(*said, *warnings(named, audited, results, unfinished)),
    )


def control_scores(
    runs: Sequence[Candidate], model: str, attack: str
) -> dict[str, list[RunScores]]:
    """Read the scores of each control in every run of a variant.

    Empty where a check of a run failed, which no control can mend.
    """
    found: dict[str, list[RunScores]] = {}
    if any(one.verdict != "valid" for one in runs):
        return found
    for control in CONTROLS_OF.get(model, OF_STUDENTS):
        try:
            found[control] = [run_scores(one, control, attack) for one in runs]
        except DataError:
            continue  # not audited in every run, or not under this attack
    return found


def needed_ends(found: Sequence[Candidate]) -> list[str]:
    """List the texts that end the needed part of a response, where a run has one."""
    ends = (one.settings.get("data.needed_until", "") for one in found)
    return list(dict.fromkeys(repr(end) for end in ends if end))


def compared_model(found: Sequence[Candidate]) -> str:
    """Name the model that is compared: the student, else the teacher."""
    is_student = any(has(one, "student") or not has(one, "teacher") for one in found)
    return "student" if is_student else "teacher"


def has(one: Candidate, model: str) -> bool:
    """Tell whether the run trained a model, or was given it."""
    return (one.folder / model).exists() or bool(one.settings.get(f"{model}.path"))


def quality_differences(
    named: Mapping[str, Sequence[Candidate]],
    model: str,
    level: float,
    base: Result,
    refused: list[DataError] | None,
) -> list[Result]:
    """Test every pair's difference of each number per record that both have."""
    results: list[Result] = []
    for metric in METRICS:
        values: dict[str, list[RunScores]] = {}
        for name, runs in named.items():
            read = (record_values(one, model, metric) for one in runs)
            there = [value for value in read if value is not None]
            if len(there) == len(runs):
                values[name] = there
        row = replace(base, attack="", metric=metric, dataset="test")
        results += compare_means(values, level=level, base=row, refused=refused)
    return results


def not_compared(what: str, refused: Sequence[DataError] | None) -> list[str]:
    """Say why the first pair without a test has none, and how many more there are."""
    if not refused:
        return []
    first, why = refused[0], {(error.what, error.values) for error in refused}
    more = f", and {len(why) - 1} more such pairs" if len(why) > 1 else ""
    return [f"{what} is not compared by pairs everywhere: {first.what} ({first.values}){more}"]


def warnings(
    named: Mapping[str, Sequence[Candidate]],
    audited: Mapping[str, Sequence[Candidate]],
    results: Sequence[Result],
    unfinished: Sequence[Path],
) -> list[str]:
    """Say what is missing, failed or unequal, for who reads the numbers."""
    said = []
    if not audited:
        said.append("nothing was audited, so that only quality is compared")
    elif silent := [name for name in named if name not in audited]:
        said.append(f"not audited, so that only quality is compared: {', '.join(silent)}")
    doubtful = [
        f"{one.folder} ({one.verdict})"
        for runs in audited.values()
        for one in runs
        if one.verdict != "valid"
    ]
    if doubtful:
        said.append(
            "did not pass the audit's checks, so that their numbers need not be leakage: "
            f"{', '.join(doubtful)}"
        )
    few = min((len(runs) for runs in named.values() if len(runs) > 1), default=ENOUGH_SEEDS)
    if few < ENOUGH_SEEDS:
        said.append(f"{few} seeds: wide limits; {ENOUGH_SEEDS} or more narrow them")
    said += unequal_training(results)
    if unfinished:
        which = "audit" if audited else "evaluation"
        said.append(f"left out, their {which} is not finished: {', '.join(map(str, unfinished))}")
    return said


def unequal_training(results: Sequence[Result]) -> list[str]:
    """Say who was trained on many times as many tokens as another."""
    trained = [row for row in results if row.metric == "trained_tokens"]
    if len(trained) < 2:
        return []
    least, *_, most = sorted(trained, key=lambda row: row.value)
    if not least.value > 0 or most.value <= UNEQUAL * least.value:
        return []
    return [
        f"not trained equally: {most.method} on {thousands(most.value)} tokens, "
        f"{most.value / least.value:.2g} times as many as {least.method} ({thousands(least.value)})"
    ]
