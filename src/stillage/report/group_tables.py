"""The numbers by group of records (data.slice_by)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from stillage.report.cells import DASH, Cell, Table, auc_cell, level_words, number, share, table_of
from stillage.report.claims import subject
from stillage.report.run_view import RunView
from stillage.report.wording import words
from stillage.types import Result

SHOWN_GROUPS = 60  # rows of a table by group; results.parquet has them all
BETWEEN = "_between_groups"
QUALITY = {
    "slice_needed_exact": "needed part right",
    "slice_rouge_l": "ROUGE-L",
    "slice_exact_match": "exact match",
}


def slices_table(view: RunView) -> Table | None:
    """Tabulate the first attack's AUC within every group, per model.

    Below it whether the groups differ.
    """
    found = [row for row in view.rows("slice_auc") if row.model != "blind"]
    models = [name for name in view.models if any(row.model == name for row in found)]
    groups = sorted({row.dataset for row in found})
    if not groups:
        return None
    by_cell = {(row.dataset, row.model): row for row in found}
    rows = []
    for group in groups[:SHOWN_GROUPS]:
        cells = [by_cell.get((group, model)) for model in models]
        n = max((row.n for row in cells if row is not None), default=0)
        rows.append((Cell(text=group), Cell(text=str(n)), *(group_cell(row) for row in cells)))
    tests = {(row.dataset, row.model): row for row in view.rows(f"slice_auc{BETWEEN}")}
    for column in dict.fromkeys(column for column, _ in tests):
        ps = (p_cell(tests.get((column, model))) for model in models)
        rows.append((Cell(text=f"all alike? {column}"), Cell(text=""), *ps))
    note = (
        f"Members against nonmembers of the same group; {level_words(view)}, each for its group "
        "alone. p: of an AUC of 0.5, adjusted for all groups of the model (Benjamini and "
        "Hochberg); shaded where it says so. All alike: p of equal AUCs in all groups of a "
        f"column.{more(groups)}"
    )
    attack = words(next(row.attack for row in found))
    columns = ("group", "n", *(view.called(name) for name in models))
    return Table(
        caption=f"AUC by group, {attack} attack", columns=columns, rows=tuple(rows), note=note
    )


def rates_table(view: RunView) -> Table | None:
    """Tabulate members found, recitals and quality in every group.

    Of the report's subject; below it whether the groups differ.
    """
    model = subject(view)
    rows = [row for row in view.results if row.model == model and row.metric.startswith("slice_")]
    lowest = min((row.fpr for row in rows if row.metric == "slice_tpr_at_fpr"), default=math.nan)
    asked = {
        f"found at {100 * lowest:g} %": ("slice_tpr_at_fpr", ""),
        "nonmembers taken for members": ("slice_achieved_fpr", ""),
        "members recited": ("slice_extraction_rate", "private"),
        "nonmembers recited": ("slice_extraction_rate", "nonmembers"),
        **{heading: (metric, "") for metric, heading in QUALITY.items()},
    }
    columns = {
        heading: {
            row.dataset: row
            for row in rows
            if row.metric in (metric, metric + BETWEEN)
            and row.part == part
            and (math.isnan(row.fpr) or row.fpr == lowest)
        }
        for heading, (metric, part) in asked.items()
    }
    columns = {heading: cells for heading, cells in columns.items() if cells}
    shown = [row for cells in columns.values() for row in cells.values()]
    groups = sorted({row.dataset for row in shown if BETWEEN not in row.metric})
    if not groups:
        return None
    body = [
        {"group": words(group)}
        | {heading: cell(cells.get(group)) for heading, cells in columns.items()}
        for group in groups[:SHOWN_GROUPS]
    ]
    body += [
        {"group": f"all alike? {column}"}
        | {heading: p_cell(cells.get(column)) for heading, cells in columns.items()}
        for column in sorted({row.dataset for row in shown if BETWEEN in row.metric})
    ]
    note = (
        f"{level_words(view)}; n behind each. Found and taken for members: above the threshold "
        "that all nonmembers together set, the intervals for this threshold. Quality: on the "
        "group's test records. All alike: p that all groups of a column have one true value "
        f"(Welch), each number tested by itself.{more(groups)}"
    )
    return table_of(f"What the {view.called(model)} betrays and can do, by group", body, note)


def more(groups: Sequence[str]) -> str:
    """Say how many groups are left out of a table."""
    left = len(groups) - SHOWN_GROUPS
    return f" {left} more groups are in results.parquet." if left > 0 else ""


def cell(row: Result | None) -> Cell:
    """Show a share in percent, or a mean, with its interval and the records behind it."""
    if row is None:
        return DASH
    shown = number(row, 3) if row.metric == "slice_rouge_l" else share(row)
    return replace(shown, small=f"{shown.small}, n {row.n}")


def p_cell(row: Result | None) -> Cell:
    """Show the p of a test between groups."""
    if row is None or math.isnan(row.value):
        return Cell(text="", small="" if row is None else "too few in the groups")
    return Cell(text=f"p {row.value:.2g}", small=f"{row.n} groups")


def group_cell(row: Result | None) -> Cell:
    """Show an AUC with its adjusted p, shaded where that speaks for a leak."""
    if row is not None and math.isnan(row.value):
        return Cell(text="–", small=row.reason or "no value")
    shown = auc_cell(row)
    if row is None or math.isnan(row.p_adjusted):
        return shown
    return replace(
        shown,
        small=f"{shown.small}, p {row.p_adjusted:.2g}",
        tint=shown.tint if row.p_adjusted <= 1 - row.level else 0,
    )
