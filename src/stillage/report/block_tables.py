"""Where in the models the leak sits: figures by measure, tables of blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.report.canvas import Picture, arms, canvas, look, render, settings
from stillage.report.cells import Cell, Table, auc_cell, level_words, number, table_of
from stillage.report.claims import subject
from stillage.report.run_view import RunView, order_models
from stillage.report.svg import FAINT, INK
from stillage.report.wording import interval
from stillage.types import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MEASURES = {
    "mope": ("noise in the block", "Noise in one block"),
    "gradient": ("gradient", "Gradient of one block"),
    "lens": ("logit lens", "Read by the head after the block"),
    "probe": ("linear probe", "Read by a linear probe after the block"),
    "revert": ("exchanged", "With the no-teacher student's block"),
}
"""Measure -> (its column, its figure's title), in reading order."""
WHOLE = -1  # the block of a row about the model as it is
SPREAD = 0.07  # blocks: how far the models of one figure stand apart


def block_rows(view: RunView, metric: str, measure: str, model: str) -> dict[int, Result]:
    """Find a model's rows by block."""
    rows = view.rows(metric, attack=measure, model=model)
    numbered = {row.block: row for row in rows if row.block is not None and row.block >= 0}
    return dict(sorted(numbered.items()))


def block_pictures(view: RunView) -> list[Picture]:
    """Draw the AUC of each block of each model, a figure per measure."""
    from matplotlib import rc_context

    drawn = []
    for measure in MEASURES:
        rows = view.rows("block_auc", attack=measure)
        models = order_models({row.model for row in rows if row.block != WHOLE})
        if models:
            with rc_context(settings(f"report-blocks-{measure}")):
                drawn.append(profile(view, measure, models, heights(view)))
    return drawn


def heights(view: RunView) -> tuple[float, float]:
    """Give the lowest and highest AUC of all figures, so that all have one scale."""
    rows = [*view.rows("block_auc"), *view.rows("block_probe_null")]
    low = min((row.low for row in rows if not math.isnan(row.value)), default=0.5)
    high = max((row.high for row in rows if not math.isnan(row.value)), default=0.5)
    return min(low, 0.45) - 0.01, max(high, 0.55) + 0.03


def profile(
    view: RunView, measure: str, models: Sequence[str], limits: tuple[float, float]
) -> Picture:
    """Draw AUC against block number, a line per model, with intervals.

    The band is what a probe finds in shuffled labels.
    """
    from matplotlib.ticker import MaxNLocator

    figure, axes = canvas(340, 285)
    rows: list[tuple[str | float | int, ...]] = []
    axes.axhline(0.5, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    shuffled = block_rows(view, "block_probe_null", measure, subject(view))
    if shuffled:
        low, high = ([getattr(row, side) for row in shuffled.values()] for side in ("low", "high"))
        places = list(shuffled)
        edges = (
            [places[0] - 0.4, *places[1:-1], places[-1] + 0.4] if len(places) > 1 else [-0.4, 0.4]
        )
        wide = (low, high) if len(places) > 1 else (low * 2, high * 2)
        axes.fill_between(
            edges, *wide, color=FAINT, alpha=0.6, linewidth=0, label="labels shuffled"
        )
    for position, model in enumerate(reversed(models)):
        found = block_rows(view, "block_auc", measure, model)
        colour, style, marker = look(model)
        shift = SPREAD * (position - (len(models) - 1) / 2)
        fine = {block: row for block, row in found.items() if not math.isnan(row.value)}
        x, y = [block + shift for block in fine], [row.value for row in fine.values()]
        axes.plot(x, y, color=colour, linestyle=style, linewidth=1.4)
        bare: dict[str, Any] = {"color": colour, "linestyle": "none"}
        for place, row in zip(x, fine.values(), strict=True):
            axes.errorbar(place, row.value, yerr=arms(row), linewidth=1.0, **bare)
        axes.plot(x, y, marker=marker, markersize=4.5, label=view.called(model), **bare)
        whole = whole_row(view, measure, model)
        if whole is not None and not math.isnan(whole.value):
            axes.axhline(whole.value, color=colour, linewidth=1.3, linestyle=(0, (1, 1.6)))
        rows += [(model, block, row.value, row.low, row.high) for block, row in found.items()]
    last = max(int(row[1]) for row in rows)
    axes.set_xlim(-0.5, last + 0.5)
    axes.set_xticks(ticks(last))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set(xlabel="block (0 is the first)", ylabel="AUC", ylim=limits)
    axes.grid(True, axis="y")
    head_of_figure(axes, MEASURES[measure][1])
    said = "; ".join(
        f"{view.called(model)}: {curve_words(view, measure, model)}" for model in models
    )
    name, title = f"blocks-{measure}", MEASURES[measure][1]
    svg = render(figure, name=name, title=title, description=f"AUC by block. {said}.")
    columns = ("model", "block", "auc", "auc_low", "auc_high")
    return Picture(name=f"blocks_{measure}", svg=svg, columns=columns, rows=tuple(sorted(rows)))


def ticks(last: int) -> list[int]:
    """Choose block numbers for an axis, at most about nine."""
    step = max(1, math.ceil((last + 1) / 9))
    return [int(place) for place in np.arange(0, last + 1, step)]


def head_of_figure(axes: Axes, title: str) -> None:
    """Set title and legend above the axes, the subject of the report first."""
    axes.legend(
        *(each[::-1] for each in axes.get_legend_handles_labels()),
        loc="lower left",
        bbox_to_anchor=(-0.14, 1.0),
        ncols=2,
        borderaxespad=0.2,
        handlelength=1.2,
        columnspacing=1.0,
        fontsize=8.5,
        title=title,
        title_fontproperties={"weight": "bold", "size": 10},
        alignment="left",
    )


def whole_row(view: RunView, measure: str, model: str) -> Result | None:
    """Find the AUC of the model as it is, of a measure that changes it."""
    rows = view.rows("block_auc", attack=measure, model=model, block=WHOLE)
    return next(iter(rows), None)


def curve_words(view: RunView, measure: str, model: str) -> str:
    """List the AUCs of a model's blocks, for who cannot see the figure."""
    return ", ".join(
        f"{row.value:.2f}" for row in block_rows(view, "block_auc", measure, model).values()
    )


def blocks_table(view: RunView) -> Table | None:
    """Tabulate the AUC of each of the subject's blocks under each measure."""
    model = subject(view)
    columns = {measure: block_rows(view, "block_auc", measure, model) for measure in MEASURES}
    columns = {measure: rows for measure, rows in columns.items() if rows}
    if not columns:
        return None
    rows: list[dict[str, Cell | str]] = [
        {"block": str(block)}
        | {MEASURES[name][0]: auc_cell(found.get(block)) for name, found in columns.items()}
        for block in sorted(set().union(*columns.values()))
    ]
    whole = {measure: whole_row(view, measure, model) for measure in columns}
    if any(whole.values()):
        cells = {MEASURES[name][0]: auc_cell(row) if row else "" for name, row in whole.items()}
        rows.append({"block": "none exchanged"} | cells)
    note = (
        f"0.5 is chance; shaded: the interval lies above it; {level_words(view)}. Noise: how much "
        "the loss rises when the block’s weights are shaken. Gradient: how little the record still "
        "pulls at them. Lens and probe read what is known after the block. Exchanged: how much "
        "better the record is predicted than by the no-teacher student, once that one’s block is "
        "put in."
    )
    return table_of(f"Blocks of the {view.called(model)}: AUC", rows, note)


def beyond_table(view: RunView) -> Table | None:
    """Tabulate what the subject's blocks show beyond a model that met no member."""
    model = subject(view)
    columns = {
        measure: block_rows(view, "block_excess", measure, model)
        for measure in MEASURES
        if measure != "revert"
    }
    columns = {measure: rows for measure, rows in columns.items() if rows}
    lost = block_rows(view, "block_revert", "revert", model)
    if not columns and not lost:
        return None
    null = next(
        (view.called(row.against) for rows in columns.values() for row in rows.values()), ""
    )
    shown = {f"{MEASURES[measure][0]}, beyond": rows for measure, rows in columns.items()}
    shown |= {"lost when exchanged": lost} if lost else {}
    rows = [
        {"block": str(block)} | {heading: number(of.get(block)) for heading, of in shown.items()}
        for block in sorted(set().union(*shown.values()))
    ]
    beyond = (
        f" Beyond: AUC minus that of the same block of the {null}, on the same records."
        if null
        else ""
    )
    gone = " Lost: AUC of the student as it is minus that with the block exchanged." if lost else ""
    note = (
        f"Differences of AUC; {level_words(view)}, each for itself; p-values, corrected together, "
        "are in results.parquet."
    )
    return table_of("What is its own in each block", rows, note + beyond + gone)


def profile_table(view: RunView, drawn: Sequence[Picture]) -> Table | None:
    """Tabulate the numbers behind the figures: every model's AUC by measure and block."""
    rows = []
    for picture in drawn:
        measure = picture.name.removeprefix("blocks_")
        for model in order_models({str(row[0]) for row in picture.rows}):
            rows += [
                {
                    "model": view.called(model),
                    "measure": MEASURES[measure][0],
                    "block": str(block),
                    "AUC": interval(row),
                }
                for block, row in block_rows(view, "block_auc", measure, model).items()
            ]
    note = (
        "As CSV: figures/blocks_*.csv. Every record's score: blocks/scores.parquet in the run "
        "folder."
    )
    return table_of("AUC by model, measure and block", rows, note, heads=2)
