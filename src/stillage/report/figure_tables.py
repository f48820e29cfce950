"""The table under each figure: its main numbers; the CSV has all of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from stillage.report.block_tables import profile_table
from stillage.report.canvas import Picture
from stillage.report.cells import Cell, Table, bracketed, number, table_of
from stillage.report.figures import attack_scores, tradeoff
from stillage.report.run_view import RunView, order_models
from stillage.report.wording import words

ROC_ROWS = 12
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def digests(view: RunView, drawn: Mapping[str, Picture]) -> dict[str, Table | None]:
    """Tabulate the figures that were drawn: roc, quality_leakage, scores, blocks."""
    found: dict[str, Table | None] = {}
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
    """Tabulate TPR with its limits at a few FPRs, a column per model."""
    curves: dict[str, dict[float, str]] = {}
    for model, fpr, tpr, low, high in picture.rows:
        shown = f"{100 * float(tpr):.1f} % [{100 * float(low):.1f}, {100 * float(high):.1f}]"
        curves.setdefault(str(model), {})[float(fpr)] = shown
    curves = {model: curves[model] for model in order_models(set(curves))}
    grid = sorted(set.intersection(*(set(curve) for curve in curves.values())))
    places = np.unique(np.linspace(0, len(grid) - 1, ROC_ROWS).round().astype(int))
    rows = tuple(
        (Cell(text=f"{100 * fpr:.3g} %"), *(bracketed(curve[fpr]) for curve in curves.values()))
        for fpr in (grid[place] for place in places if grid)
    )
    columns = ("false-positive rate", *map(view.called, curves))
    caption = "True-positive rate at each false-positive rate"
    note = "Pointwise limits. All points: figures/roc.csv."
    return Table(caption=caption, columns=columns, rows=rows, note=note)


def tradeoff_table(view: RunView) -> Table | None:
    """Tabulate quality and AUC of each model of the scatter."""
    points = tradeoff(view)
    metric = points[0].quality.metric
    rows = [
        {
            "model": view.called(point.model),
            {"rouge_l": "ROUGE-L"}.get(metric, words(metric)): number(point.quality, 3),
            f"AUC, {words(view.primary_attack)} attack": number(point.leakage, 3),
        }
        for point in points
    ]
    return table_of("Quality and leakage", rows)


def quantile_table(view: RunView) -> Table | None:
    """Tabulate quantiles of the members' and the nonmembers' scores of each model."""
    rows = []
    for model, one in attack_scores(view, view.primary_attack).items():
        for group, chosen in (("members", one.is_member), ("nonmembers", ~one.is_member)):
            cuts = zip(QUANTILES, np.quantile(one.scores[chosen], QUANTILES), strict=True)
            rows.append(
                {
                    "model": view.called(model),
                    "group": group,
                    **{f"{100 * quantile:g} %": f"{cut:.3g}" for quantile, cut in cuts},
                    "n": str(int(chosen.sum())),
                }
            )
    note = "The share of the group that scores below. Bins: figures/scores_*.csv."
    return table_of(f"Quantiles of the {words(view.primary_attack)} score", rows, note, heads=2)
