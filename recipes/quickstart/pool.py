"""Pool the membership results of runs that differ in their seed only, and check what the quickstart promises.

    python recipes/quickstart/pool.py runs/quickstart-1 runs/quickstart-2 runs/quickstart-3

Prints each seed's AUC of the loss attack and the pooled interval of every control (within and between seeds). Exit 1
when a promise fails: teacher >= 0.99, distilled student >= 0.85 and above both controls at every seed, and 0.5 inside
the pooled intervals of the student without a teacher, the counterfactual student and the blind bag of words.
"""

from __future__ import annotations

import sys
from pathlib import Path

from stillage.audit.membership import by_model_and_attack
from stillage.functional.stats import Interval, pooled_auc_interval
from stillage.run.folder import read_table

MODELS = ("teacher", "student", "student_counterfactual", "student_no_teacher")
POOLED = (("student_no_teacher", "loss"), ("student_counterfactual", "loss"), ("blind", "bag_of_words"))
FOLDS = {"blind": 5}  # blind scores are cross-fitted: their records depend on each other through the folds


def words(found: Interval) -> str:
    """value [low, high]."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def main(runs: list[Path]) -> int:
    """Print the table; 0 if every promise holds."""
    scores = [by_model_and_attack(read_table(run / "audit" / "scores.parquet")) for run in runs]
    failed = []
    print("| model | " + " | ".join(run.name for run in runs) + " | pooled |")
    print("|---|" + "---|" * (len(runs) + 1))
    for model, attack in [(model, "loss") for model in MODELS] + [POOLED[-1]]:
        found = [one[model, attack] for one in scores]
        each = [one.auc(0.95, cross_fitted=model == "blind") for one in found]
        pooled = pooled_auc_interval(
            [(one.scores, one.is_member) for one in found],
            clusters=[one.clusters for one in found],
            n_folds=FOLDS.get(model, 0),
        )
        pooled = pooled if len(found) > 1 else each[0]
        print(f"| {model}, {attack} | " + " | ".join(map(words, each)) + f" | {words(pooled)} |")
        if (model, attack) in POOLED and not pooled.contains(0.5):
            failed.append(f"{model}: {words(pooled)} does not contain 0.5")
    for run, found in zip(runs, scores, strict=True):
        by_model = {model: found[model, "loss"].auc(0.95) for model in MODELS}
        controls = max(by_model[model].high for model in MODELS[2:])
        if by_model["teacher"].value < 0.99:
            failed.append(f"{run}: teacher {words(by_model['teacher'])}")
        if by_model["student"].value < 0.85 or by_model["student"].low <= controls:
            failed.append(f"{run}: student {words(by_model['student'])}, controls up to {controls:.3f}")
    print("\n".join(failed) if failed else "every promise holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main([Path(word) for word in sys.argv[1:]]))
