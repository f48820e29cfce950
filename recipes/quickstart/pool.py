"""Pool the membership results of runs that differ in their seed only, and check what the quickstart promises.

    python recipes/quickstart/pool.py runs/quickstart-1 runs/quickstart-2 runs/quickstart-3

Prints each seed's AUC of the loss attack and the pooled interval of every control (within and between seeds). Exit 1
when a promise fails: teacher >= 0.99, distilled student >= 0.85 and above both controls at every seed, and 0.5 inside
the pooled intervals of the student without a teacher, the counterfactual student and the blind bag of words.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from stillage.audit.blind import N_FOLDS
from stillage.audit.compare import auc_over_seeds
from stillage.audit.membership import is_cross_fitted
from stillage.experiment.compare import candidate, run_scores
from stillage.functional.stats import Interval

MODELS = ("teacher", "student", "student_counterfactual", "student_no_teacher")
POOLED = (("student_no_teacher", "loss"), ("student_counterfactual", "loss"), ("blind", "bag_of_words"))


def auc(runs: Sequence[Path], model: str, attack: str) -> Interval:
    """Over the seeds; a cross-fitted attack's interval is wider, as its records depend on each other through the folds."""
    found = [run_scores(candidate(run, run.name), model, attack) for run in runs]
    return auc_over_seeds(found, n_folds=N_FOLDS if is_cross_fitted(model, attack) else 0)[0]


def words(found: Interval) -> str:
    """value [low, high]."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main(runs: list[Path]) -> int:
    """Print the table; 0 if every promise holds."""
    failed = []
    print("| model | " + " | ".join(run.name for run in runs) + " | pooled |")
    print("|---|" + "---|" * (len(runs) + 1))
    by_run: dict[str, list[Interval]] = {}
    for model, attack in [(model, "loss") for model in MODELS] + [POOLED[-1]]:
        by_run[model] = [auc([run], model, attack) for run in runs]
        pooled = auc(runs, model, attack)
        print(f"| {model}, {attack} | " + " | ".join(map(words, by_run[model])) + f" | {words(pooled)} |")
        if (model, attack) in POOLED and not pooled.contains(0.5):
            failed.append(f"{model}: {words(pooled)} does not contain 0.5")
    for position, run in enumerate(runs):
        by_model = {model: by_run[model][position] for model in MODELS}
        controls = max(by_model[model].high for model in MODELS[2:])
        if by_model["teacher"].value < 0.99:
            failed.append(f"{run}: teacher {words(by_model['teacher'])}")
        if by_model["student"].value < 0.85 or by_model["student"].low <= controls:
            failed.append(f"{run}: student {words(by_model['student'])}, controls up to {controls:.3f}")
    print("\n".join(failed) if failed else "every promise holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([Path(word) for word in sys.argv[1:]]))
