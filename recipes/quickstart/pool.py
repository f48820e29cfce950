"""Pool the results of quickstarts that differ in their seed only, and check what the quickstart promises.

    python recipes/quickstart/pool.py runs/quickstart-1 runs/quickstart-2 ...

Prints, for each seed and pooled, the AUC of the loss attack on every model, the share of needed answers that are right,
and what the student gained over no teacher. Exit 1 when a promise fails; see PROMISES.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stillage.audit.compare import auc_over_seeds, scored_by_all
from stillage.functional.stats import Interval
from stillage.report.finished_runs import candidate, run_scores
from stillage.run.results import read_results
from stillage.types import Result

STUDENTS = ("student", "student_minimal", "student_no_teacher")
MODELS = ("teacher", *STUDENTS, "student_counterfactual", "teacher_counterfactual")
CONTROLS = ("student_no_teacher", "student_counterfactual", "teacher_counterfactual")
TEACHER_AUC, STUDENT_AUC, GAIN, MINIMAL_RIGHT = 0.95, 0.82, 0.25, 0.95
"""PROMISES, at every seed: the teacher's AUC; the student's, with its interval above those of its controls; the gain of
needed answers over the student without a teacher, with its interval above 0; how often the student that was asked for
less is right. Pooled over the seeds: 0.5 in the interval of every control."""


def auc(runs: Sequence[Path], model: str, attack: str = "loss") -> Interval:
    """Over the seeds; a cross-fitted attack's interval is wider, as its records depend on each other through the folds."""
    found = [run_scores(candidate(run, run.name), model, attack) for run in runs]
    return auc_over_seeds(scored_by_all([(run,) for run in found]), model, attack)


def row(results: Sequence[Result], metric: str, model: str, against: str = "") -> Result:
    """The run's own result."""
    asked = (metric, model, against)
    return next(one for one in results if (one.metric, one.model, one.against) == asked)


def words(found: Interval | Result) -> str:
    """value [low, high]."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def broken(run: Path, by_model: dict[str, Interval], results: Sequence[Result]) -> list[str]:
    """The promises that one seed does not keep, in words."""
    gain = row(results, "needed_exact_gain", "student", "student_no_teacher")
    right = row(results, "needed_exact", "student_minimal")
    teacher, student = by_model["teacher"], by_model["student"]
    above = max(by_model[name].high for name in CONTROLS[:2])
    kept = {
        f"teacher {words(teacher)}": teacher.value >= TEACHER_AUC,
        f"student {words(student)}, controls up to {above:.3f}": student.value >= STUDENT_AUC
        and student.low > above,
        f"gain {words(gain)}": gain.value >= GAIN and gain.low > 0,
        f"asked for less, right: {words(right)}": right.value >= MINIMAL_RIGHT,
    }
    return [f"{run}: {said}" for said, is_kept in kept.items() if not is_kept]


def main(runs: list[Path]) -> int:
    """Print the tables; 0 if every promise holds."""
    aucs = {model: [auc([run], model) for run in runs] for model in MODELS}
    results = [read_results(run / "report" / "results.parquet") for run in runs]
    pooled = {model: auc(runs, model) for model in MODELS}
    print(
        "| | "
        + " | ".join(run.name for run in runs)
        + " | pooled |\n|---|"
        + "---|" * (len(runs) + 1)
    )
    for model in MODELS:
        print(
            f"| AUC, {model} | "
            + " | ".join(map(words, aucs[model]))
            + f" | {words(pooled[model])} |"
        )
    part = [auc([run], "student_minimal", "loss_needed") for run in runs]
    both = auc(runs, "student_minimal", "loss_needed")
    print(
        "| AUC on the needed part, student_minimal | "
        + " | ".join(map(words, part))
        + f" | {words(both)} |"
    )
    for model in STUDENTS:
        print(
            f"| right, {model} | "
            + " | ".join(words(row(one, "needed_exact", model)) for one in results)
            + " | |"
        )
    gains = [row(one, "needed_exact_gain", "student", "student_no_teacher") for one in results]
    print("| gain over no teacher | " + " | ".join(map(words, gains)) + " | |")
    failed = []
    for place, run in enumerate(runs):
        failed += broken(run, {model: aucs[model][place] for model in MODELS}, results[place])
    failed += [
        f"{name}: {words(pooled[name])} lacks 0.5"
        for name in CONTROLS
        if not pooled[name].contains(0.5)
    ]
    print("\n".join(failed) if failed else "every promise holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([Path(word) for word in sys.argv[1:]]))
