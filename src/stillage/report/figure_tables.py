"""The table under each figure: its main numbers; the CSV has all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stillage.report.block_tables import profile_table
from stillage.report.canvas import Picture
from stillage.report.cells import Cell, Table, bracketed, model_head, number
from stillage.report.figures import attack_scores, tradeoff
from stillage.report.run_view import RunView, order_models
from stillage.report.wording import words

ROC_ROWS = 12
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def digests(view: RunView, drawn: Mapping[str, Picture]) -> dict[str, Table]:
    """Tabulate the figures that were drawn: roc, quality_leakage, scores, blocks."""
    found = {}
    if "roc" in drawn:
        found["roc"] = roc_table(view, drawn["roc"])
    if "quality_leakage" in drawn:
        found["quality_leakage"] = tradeoff_table(view)
    if any(name.startswith("scores_") for name in drawn):
        found["scores"] = quantile_table(view)
    profiles = [picture for name, picture in drawn.items() if name.startswith("blocks_")]
    if profiles:
        found["blocks"] = profile_table(view, profiles)
    return found


def roc_table(view: RunView, picture: Picture) -> Table:
    """TPR with its limits at a few FPRs, a column per model."""
    curves: dict[str, dict[float, str]] = {}
    for model, fpr, tpr, low, high in picture.rows:
        shown = f"{100 * float(tpr):.1f} % [{100 * float(low):.1f}, {100 * float(high):.1f}]"
        curves.setdefault(str(model), {})[float(fpr)] = shown
    curves = {model: curves[model] for model in order_models(set(curves))}
    grid = sorted(set.intersection(*(set(curve) for curve in curves.values())))
    kept = (
        sorted({round(place) for place in np.linspace(0, len(grid) - 1, ROC_ROWS)}) if grid else []
    )
    rows = tuple(
        (
            Cell(text=f"{100 * grid[place]:.3g} %"),
            *(bracketed(curve[grid[place]]) for curve in curves.values()),
        )
        for place in kept
    )
    columns = ("false-positive rate", *(view.called(model) for model in curves))
    note = "Pointwise limits. All points: figures/roc.csv."
    return Table(
        caption="True-positive rate at each false-positive rate",
        columns=columns,
        rows=rows,
        note=note,
    )


def tradeoff_table(view: RunView) -> Table:
    """Quality and AUC of each model of the scatter."""
    points = tradeoff(view)
    rows = tuple(
        (model_head(view, p.model), number(p.quality, 3), number(p.leakage, 3)) for p in points
    )
    quality = {"rouge_l": "ROUGE-L"}.get(points[0].quality.metric, words(points[0].quality.metric))
    columns = ("model", quality, f"AUC, {words(view.primary_attack)} attack")
    return Table(caption="Quality and leakage", columns=columns, rows=rows)


def quantile_table(view: RunView) -> Table:
    """Quantiles of the members' and the nonmembers' scores of each model."""
    rows = []
    for model, one in attack_scores(view, view.primary_attack).items():
        values, member = one.scores, one.is_member
        for group, chosen in (("members", member), ("nonmembers", ~member)):
            cells = (Cell(text=f"{cut:.3g}") for cut in np.quantile(values[chosen], QUANTILES))
            rows.append(
                (
                    model_head(view, model),
                    Cell(text=group),
                    *cells,
                    Cell(text=str(int(chosen.sum()))),
                )
            )
    columns = ("model", "group", *(f"{100 * q:g} %" for q in QUANTILES), "n")
    note = "The share of the group that scores below. Bins: figures/scores_*.csv."
    caption = f"Quantiles of the {words(view.primary_attack)} score"
    return Table(caption=caption, columns=columns, rows=tuple(rows), heads=2, note=note)
