"""The table of a finished grid: every method's quality and leakage at equal trained tokens, over its seeds.

    python recipes/methods_small/table.py runs/methods_small/people [more folders, e.g. one per seed]

Loss: best validation loss, nats per token. ROUGE-L and loss: mean over seeds and, with several, half a 95 % t interval.
AUC: pooled over seeds (audit.compare.auc_over_seeds). A method that beats SFT in neither loss nor ROUGE-L is marked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from stillage.audit.compare import auc_over_seeds, scored_by_all
from stillage.errors import DataError
from stillage.functional.stats import mean_interval
from stillage.report.finished_runs import candidate, run_scores
from stillage.run.folder import read_json
from stillage.run.results import read_results

HEAD = (
    "method",
    "trained tokens",
    "validation loss",
    "ROUGE-L",
    "AUC, loss",
    "AUC, reference",
    "AUC, loss, student without teacher",
)
ORDER = ("sft", "kd", "seqkd", "imitkd", "gkd", "distillm", "minillm")


def spread(values: Sequence[float], digits: int) -> str:
    """Mean, and half a 95 % interval where there are several seeds."""
    mean = mean_interval(np.array(values))
    return f"{mean.value:.{digits}f}" + (
        f" +- {mean.high - mean.value:.{digits}f}" if len(values) > 1 else ""
    )


def pooled(runs: Sequence[Path], model: str, attack: str) -> str:
    """AUC [low, high] over the seeds; a dash where the runs have no such scores."""
    try:
        found = [run_scores(candidate(run, run.name), model, attack) for run in runs]
    except DataError:
        return "-"
    auc = auc_over_seeds(scored_by_all([(run,) for run in found]), model, attack)
    return f"{auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]"


def measured(run: Path) -> dict[str, float]:
    """Validation loss, trained tokens and ROUGE-L of the student of one run."""
    summary = read_json(run / "student" / "summary.json")
    rouge = [
        r.value
        for r in read_results(run / "evaluate" / "results.parquet")
        if (r.metric, r.model) == ("rouge_l", "student")
    ]
    return {
        "loss": summary["best_validation_loss"],
        "tokens": summary["trained_tokens"],
        "rouge": rouge[0],
    }


def main(folders: Sequence[Path]) -> None:
    """Print the table."""
    points = [(out, point) for out in folders for point in read_json(out / "sweep.json")["points"]]
    print("| " + " | ".join(HEAD) + " |\n" + "|---" * len(HEAD) + "|")
    base: tuple[float, float] | None = None
    names = dict.fromkeys(point["values"]["cases.method"] for _, point in points)
    for name in sorted(names, key=ORDER.index):
        runs = [
            out / point["name"] for out, point in points if point["values"]["cases.method"] == name
        ]
        numbers = [measured(run) for run in runs]
        loss, rouge = (float(np.mean([one[key] for one in numbers])) for key in ("loss", "rouge"))
        base = base or (loss, rouge)
        mark = (
            "" if name == "sft" or loss < base[0] or rouge > base[1] else " (beats SFT in neither)"
        )
        cells = [
            name + mark,
            f"{np.mean([one['tokens'] for one in numbers]):,.0f}",
            spread([one["loss"] for one in numbers], 3),
            spread([one["rouge"] for one in numbers], 3),
        ]
        for model, attack in (
            ("student", "loss"),
            ("student", "reference"),
            ("student_no_teacher", "loss"),
        ):
            cells.append(pooled(runs, model, attack))
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main([Path(word) for word in sys.argv[1:]])
