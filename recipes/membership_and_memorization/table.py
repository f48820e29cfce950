"""Tables, heat maps and the published orderings, from a finished (or half-finished) grid.

    python recipes/membership_and_memorization/table.py runs/membership_and_memorization [heatmaps/]

AUC: members against outsiders, pooled over seeds (stats.pooled_auc_interval, near-duplicates counted once). Positional
accuracy: share of the answer's first 32 tokens recited, members and outsiders, mean over seeds. Points that are not
finished are named. The orderings at the end are those published for this grid (arXiv:2508.07054), with our numbers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy.stats import spearmanr

from stillage.audit.membership import Scored, by_model_and_attack
from stillage.functional.stats import Interval, pooled_auc_interval
from stillage.run.folder import read_json, read_table
from stillage.run.results import read_results
from stillage.types import Result

Name = TypeVar("Name")
NO_KD = "no teacher"
PUBLISHED = {
    "gpt2": ("imitkd", "seqkd", "kd", "gkd", "distillm", "minillm"),
    "opt": ("seqkd", "imitkd", "kd", "distillm", "gkd", "minillm"),
}
"""Methods by mean AUC over sizes and attacks, the leakiest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One family, size and method over its seeds."""

    auc: Mapping[str, Interval]  # attack -> pooled AUC
    members: float  # positional accuracy, mean over seeds
    outsiders: float
    rouge: float
    slices: Mapping[str, float]  # category -> AUC of the first attack, mean over seeds
    blocks: Mapping[tuple[str, str], float]  # (measure, block) -> AUC, mean over seeds
    seeds: int

    @property
    def mean_auc(self) -> float:
        """Over attacks."""
        return float(np.mean([one.value for one in self.auc.values()]))

    @property
    def best(self) -> tuple[str, Interval]:
        """The attack with the largest AUC; picked by looking, so no claim by itself."""
        return max(self.auc.items(), key=lambda pair: pair[1].value)


def pool(found: Sequence[Scored]) -> Interval:
    """The AUC over seeds."""
    if len(found) == 1:
        return found[0].auc(0.95)
    return pooled_auc_interval([(s.scores, s.is_member) for s in found], clusters=[s.clusters for s in found])


def cell(runs: Sequence[Path], model: str) -> Cell:
    """What the runs, which differ in their seed only, say of one model."""
    scores = [by_model_and_attack(read_table(run / "audit" / "scores.parquet")) for run in runs]
    attacks = [attack for name, attack in scores[0] if name == model]
    results = [read_results(run / "report" / "results.parquet") for run in runs]

    def mean(metric: str, dataset: str = "") -> float:
        values = [r.value for found in results for r in found if r.model == model and r.metric == metric
                  and (not dataset or r.dataset == dataset)]  # fmt: skip
        return float(np.mean(values)) if values else float("nan")

    by_slice: dict[str, list[float]] = {}
    for found in results:
        for row in (r for r in found if is_category(r, model)):
            by_slice.setdefault(row.dataset.removeprefix("category: "), []).append(row.value)
    of_blocks = [r for found in results for r in found if r.metric == "block_auc" and r.model == model]
    return Cell(
        auc={attack: pool([found[model, attack] for found in scores]) for attack in attacks},
        members=mean("positional_accuracy", "private"),
        outsiders=mean("positional_accuracy", "outsiders"),
        rouge=mean("rouge_l"),
        slices={name: float(np.nanmean(values)) for name, values in by_slice.items()},
        blocks=means(((row.attack, row.note.split(";")[0].removeprefix("block=")), row.value) for row in of_blocks),
        seeds=len(runs),
    )


def is_category(row: Result, model: str) -> bool:
    """Is it the AUC of one task category?"""
    return row.metric == "slice_auc" and row.model == model and row.dataset.startswith("category: ")


def grid(out: Path) -> tuple[dict[tuple[str, str, str], Cell], list[str]]:
    """(family, size, method) -> its numbers; and the names of points that are not finished."""
    runs: dict[tuple[str, str, str], list[Path]] = {}
    missing = []
    for point in read_json(out / "sweep.json")["points"] if (out / "sweep.json").is_file() else folders(out):
        values, run = point["values"], out / point["name"]
        if not (run / "report" / "results.parquet").is_file():
            missing.append(point["name"])
            continue
        runs.setdefault((values["cases.family"], values["cases.size"], values["cases.method"]), []).append(run)
    cells = {key: cell(found, "student") for key, found in runs.items()}
    for family, size in dict.fromkeys((family, size) for family, size, _ in runs):
        of_size = [found for key, found in runs.items() if key[:2] == (family, size)]
        one_each = {run.name.split("_")[0]: run for found in of_size for run in found}  # one run per seed has them all
        chosen = list(one_each.values())
        cells[family, size, NO_KD] = cell(chosen, "student_no_teacher")
        cells[family, size, "teacher"] = cell(chosen, "teacher")
    return cells, missing


def folders(out: Path) -> list[dict]:
    """The points of a grid that is still running, from the names of its folders."""
    found = []
    for path in sorted(out.glob("seed=*")):
        values = dict(part.split("=", 1) for part in path.name.split("_"))
        found.append({"name": path.name, "values": {f"cases.{name}": value for name, value in values.items()}})
    return found


def words(found: Interval) -> str:
    """value [low, high]."""
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def print_tables(cells: Mapping[tuple[str, str, str], Cell]) -> None:
    """AUC by attack, then memorization and quality."""
    attacks = list(dict.fromkeys(attack for one in cells.values() for attack in one.auc))
    head = ["family", "student", "method", "seeds", *attacks]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for (family, size, method), one in sorted(cells.items()):
        shown = [words(one.auc[attack]) if attack in one.auc else "-" for attack in attacks]
        print("| " + " | ".join([family, size, method, str(one.seeds), *shown]) + " |")
    head = ["family", "student", "method", "recited, members", "recited, outsiders", "gap", "ROUGE-L"]
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for (family, size, method), one in sorted(cells.items()):
        gap = one.members - one.outsiders
        numbers = [f"{value:.3f}" for value in (one.members, one.outsiders, gap, one.rouge)]
        print("| " + " | ".join([family, size, method, *numbers]) + " |")


def print_blocks(cells: Mapping[tuple[str, str, str], Cell]) -> None:
    """The block profile: AUC from each block alone, mean over seeds."""
    columns = sorted({column for one in cells.values() for column in one.blocks})
    if not columns:
        return
    head = ["family", "student", "method", *(f"{measure} {block}" for measure, block in columns)]
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for key, one in sorted(cells.items()):
        shown = [f"{one.blocks[column]:.2f}" if column in one.blocks else "-" for column in columns]
        print("| " + " | ".join([*key, *shown]) + " |")


def print_orderings(cells: Mapping[tuple[str, str, str], Cell]) -> None:
    """Each published ordering, and what this grid says."""
    for family in dict.fromkeys(key[0] for key in cells):
        students = {key[1:]: one for key, one in cells.items() if key[0] == family and key[2] not in (NO_KD, "teacher")}
        by_method = means((method, one.mean_auc) for (_, method), one in students.items())
        by_size = means((size, one.mean_auc) for (size, _), one in students.items())
        by_attack = means((name, auc.value) for one in students.values() for name, auc in one.auc.items())
        by_category = means((name, value) for one in students.values() for name, value in one.slices.items())
        print(f"\n{family}, mean AUC: by method {ranked(by_method)}")
        order = PUBLISHED.get(family, ())
        if order and set(order) <= set(by_method):
            rho = spearmanr(range(len(order)), [-by_method[name] for name in order]).statistic
            print(f"  published: {' > '.join(order)}; rank correlation {rho:.2f}")
        print(f"  by size {ranked(by_size)} (published: larger leaks more)")
        print(f"  by attack {ranked(by_attack)} (published: reference > min-k > loss > min-k++ > zlib)")
        print(f"  by category {ranked(by_category)} (published, other data: creative writing most, closed QA least)")
        recited = means((method, one.members) for (_, method), one in students.items())
        if len(recited) > 2:
            rho = spearmanr(list(by_method.values()), [recited[name] for name in by_method]).statistic
            print(f"  leakage against recital over methods: rank correlation {rho:.2f} (published: they disagree)")
        alone = [one for key, one in cells.items() if key[0] == family and key[2] == NO_KD]
        away = [f"{name} {words(auc)}" for one in alone for name, auc in one.auc.items() if not auc.contains(0.5)]
        print("  no teacher: " + (f"away from chance: {', '.join(away)}" if away else "at chance under every attack"))


def means(pairs: Iterable[tuple[Name, float]]) -> dict[Name, float]:
    """The mean value of each name."""
    found: dict[Name, list[float]] = {}
    for name, value in pairs:
        found.setdefault(name, []).append(value)
    return {name: float(np.nanmean(values)) for name, values in found.items()}


def ranked(values: Mapping[str, float]) -> str:
    """The names from the largest value to the smallest."""
    return " > ".join(f"{name} {values[name]:.3f}" for name in sorted(values, key=lambda name: -values[name]))


def heat_map(cells: Mapping[tuple[str, str, str], Cell], family: str, path: Path) -> None:
    """AUC by method (rows) and attack (columns), one panel per student size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    here = {key[1:]: one for key, one in cells.items() if key[0] == family}
    sizes = list(dict.fromkeys(size for size, _ in here))
    methods = list(dict.fromkeys(method for _, method in here))
    attacks = list(dict.fromkeys(attack for one in here.values() for attack in one.auc))
    figure, axes = pyplot.subplots(
        1, len(sizes), figsize=(1.5 + 4.2 * len(sizes), 0.5 * len(methods) + 1.8), squeeze=False
    )
    for axis, size in zip(axes[0], sizes, strict=True):
        table = np.full((len(methods), len(attacks)), np.nan)
        for row, method in enumerate(methods):
            for column, attack in enumerate(attacks):
                one = here.get((size, method))
                if one is not None and attack in one.auc:
                    table[row, column] = one.auc[attack].value
                    colour = "white" if table[row, column] > 0.82 else "black"
                    axis.text(
                        column, row, f"{table[row, column]:.2f}", ha="center", va="center", color=colour, fontsize=9
                    )
        axis.imshow(table, vmin=0.5, vmax=1.0, cmap="YlOrRd", aspect="auto")
        axis.set_xticks(range(len(attacks)), attacks, rotation=30, ha="right", fontsize=8)
        axis.set_yticks(range(len(methods)), methods, fontsize=9)
        axis.set_title(f"{family}, {size} student: AUC", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(out: Path, pictures: Path) -> None:
    """Print everything, draw a heat map per family."""
    cells, missing = grid(out)
    print_tables(cells)
    print_blocks(cells)
    print_orderings(cells)
    for family in dict.fromkeys(key[0] for key in cells):
        heat_map(cells, family, pictures / f"{family}.png")
    if missing:
        print(f"\nnot finished: {len(missing)} points: {', '.join(missing)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else Path(sys.argv[1]) / "heatmaps")
