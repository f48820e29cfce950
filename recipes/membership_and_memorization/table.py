"""Tables, heat maps and the published orderings, from a finished (or half-finished) grid.

    python recipes/membership_and_memorization/table.py runs/membership_and_memorization [heatmaps/]

AUC: members against nonmembers, pooled over seeds. Recited: positional accuracy over the answer's first 32 tokens; whole:
all of them exactly. Blocks: what each block of the student tells beyond the same block of the student without a teacher,
mean and range over seeds. Near-duplicates count once in every interval. Points that are not finished are named.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from markdown_table import print_table
from orderings import PRIMARY, print_attacks, print_methods, print_ranks, print_sizes
from points import (
    NO_TEACHER,
    STUDENT,
    TEACHER,
    Grid,
    Place,
    attacks_on,
    auc,
    categories,
    finished,
    recited,
    results,
)

from stillage.functional.stats import Interval

OTHERS = {TEACHER: "teacher", NO_TEACHER: "no teacher"}
"""Models that stand beside the students of one family and size, read from the runs of kd."""


def rows(grid: Grid) -> list[tuple[Place, Sequence[Path], str]]:
    """(place as printed, its runs, model) for each line of a table."""
    found = [(place, runs, STUDENT) for place, runs in grid.items()]
    for model, name in OTHERS.items():
        found += [
            (Place(at.family, at.size, name), runs, model)
            for at, runs in grid.items()
            if at.method == "kd"
        ]
    return sorted(found)


def words(found: Interval, digits: int = 3) -> str:
    """value [low, high]."""
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def number(runs: Sequence[Path], model: str, metric: str, dataset: str = "") -> float:
    """The mean over seeds of one number of a model (on one data set, if given)."""
    values = [
        row.value
        for run in runs
        for row in results(run)
        if (row.model, row.metric) == (model, metric) and dataset in ("", row.dataset)
    ]
    return float(np.mean(values)) if values else float("nan")


def print_auc(grid: Grid) -> None:
    """AUC by attack."""
    attacks = list(
        dict.fromkeys(attack for runs in grid.values() for attack in attacks_on(runs[0], STUDENT))
    )
    lines = []
    for place, runs, model in rows(grid):
        known = attacks_on(runs[0], model)
        shown = [words(auc(runs, model, attack)) if attack in known else "-" for attack in attacks]
        lines.append([place.family, place.size, place.method, str(len(runs)), *shown])
    print_table(["family", "student", "method", "seeds", *attacks], lines)


def print_recited(grid: Grid) -> None:
    """What is recited, and how good the model is."""
    lines = []
    for place, runs, model in rows(grid):
        members, nonmembers, gap = recited(runs, model)
        shown = [f"{members:.3f}", f"{nonmembers:.3f}", words(gap)]
        whole = [
            f"{number(runs, model, 'extraction_rate', side):.3f}"
            for side in ("private", "nonmembers")
        ]
        quality = [
            f"{number(runs, model, 'rouge_l'):.3f}",
            f"{number(runs, model, 'bits_per_byte'):.2f}",
        ]
        lines.append([place.family, place.size, place.method, *shown, *whole, *quality])
    head = [
        "recited, members",
        "nonmembers",
        "difference",
        "whole, members",
        "nonmembers",
        "ROUGE-L",
        "bits per byte",
    ]
    print_table(["family", "student", "method", *head], lines)


def print_categories(grid: Grid) -> None:
    """AUC of the primary attack on each student, and what teachers and students recite, by task category."""
    names = sorted(
        {name for runs in grid.values() for run in runs for name in categories(run).values()}
    )
    for family, size in sorted({(place.family, place.size) for place in grid}):
        here = {
            place.method: runs
            for place, runs in sorted(grid.items())
            if (place.family, place.size) == (family, size)
        }
        lines = [
            [name, *(words(auc(runs, STUDENT, PRIMARY, name), 2) for runs in here.values())]
            for name in names
        ]
        print_table([f"{family}, {size}: AUC of {PRIMARY}", *here], lines)
    runs = {
        TEACHER: [run for place, found in grid.items() if place.method == "kd" for run in found]
    }
    runs[STUDENT] = [run for found in grid.values() for run in found]
    if all(runs.values()):
        lines = [
            [name, *(words(recited(found, model, name)[2]) for model, found in runs.items())]
            for name in names
        ]
        print_table(["recited, members minus nonmembers", *runs], lines)


def print_blocks(grid: Grid) -> None:
    """The block profile: AUC of each block minus the no-teacher student's, and what reverting a block takes away."""
    found: dict[Place, dict[str, list[float]]] = {}
    for place, runs in sorted(grid.items()):
        for row in (row for run in runs for row in results(run)):
            if row.model == STUDENT and row.metric in ("block_excess", "block_revert"):
                found.setdefault(place, {}).setdefault(f"{row.attack} {row.block}", []).append(
                    row.value
                )
    columns = sorted({column for columns in found.values() for column in columns})
    if columns:
        lines = [
            [place.family, place.size, place.method, *(spread(by.get(c, ())) for c in columns)]
            for place, by in found.items()
        ]
        print_table(["family", "student", "method", *columns], lines)


def spread(values: Sequence[float]) -> str:
    """The mean, and the least and the greatest."""
    return f"{np.mean(values):+.2f} ({min(values):+.2f}, {max(values):+.2f})" if values else "-"


def heat_map(grid: Grid, family: str, path: Path) -> None:
    """AUC by method (rows) and attack (columns), one panel per student size."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    here = [(place, runs, model) for place, runs, model in rows(grid) if place.family == family]
    sizes, methods = (
        list(dict.fromkeys(getattr(place, axis) for place, _, _ in here))
        for axis in ("size", "method")
    )
    attacks = attacks_on(next(runs for _, runs, model in here if model == STUDENT)[0], STUDENT)
    shape = (1.5 + 4.2 * len(sizes), 0.45 * len(methods) + 1.4)
    figure, axes = pyplot.subplots(1, len(sizes), figsize=shape, squeeze=False, sharey=True)
    for axis, size in zip(axes[0], sizes, strict=True):
        table = np.full((len(methods), len(attacks)), np.nan)
        for place, runs, model in here:
            if place.size == size:
                known = attacks_on(runs[0], model)
                table[methods.index(place.method)] = [
                    auc(runs, model, attack).value if attack in known else np.nan
                    for attack in attacks
                ]
        axis.imshow(table, vmin=0.5, vmax=1.0, cmap="YlOrRd", aspect="auto")
        for (row, column), value in np.ndenumerate(table):
            text, colour = (
                ("-" if np.isnan(value) else f"{value:.2f}"),
                "white" if value > 0.82 else "black",
            )
            axis.text(column, row, text, ha="center", va="center", color=colour, fontsize=9)
        axis.set_xticks(range(len(attacks)), attacks, rotation=30, ha="right", fontsize=8)
        axis.set_yticks(range(len(methods)), methods, fontsize=9)
        axis.set_title(f"{family}, {size} student: AUC", fontsize=10)
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(out: Path, pictures: Path) -> None:
    """Print everything, draw a heat map per family."""
    grid, missing = finished(out)
    if grid:
        print_auc(grid)
        print_recited(grid)
        print_categories(grid)
        print_blocks(grid)
    for family in dict.fromkeys(place.family for place in sorted(grid)):
        print_methods(grid, family)
        print_sizes(grid, family)
        print_attacks(grid, family)
        print_ranks(grid, family)
        heat_map(grid, family, pictures / f"{family}.png")
    if missing:
        print(f"\nnot finished: {len(missing)} points: {', '.join(missing)}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]) if len(sys.argv) == 3 else Path(sys.argv[1]) / "heatmaps",
    )
