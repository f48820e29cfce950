"""The tables of a mosaic run's report."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from stillage.audit.inheritance import spearman
from stillage.functional.equivalence import Smoothing, smoothed
from stillage.report.cells import Cell, Table, auc_cell, number, table_of, without_dashes
from stillage.report.mosaic_reading import MISREAD, is_sound
from stillage.report.mosaic_view import DISTANCES, Canaries, MosaicView, Row, Shown
from stillage.report.mosaic_words import (
    at_place,
    attack_words,
    column_head,
    fixed_amount,
    flag_name,
    flaws_note,
    level_percent,
)
from stillage.report.wording import words
from stillage.types import Result

READ_OFF: dict[Smoothing, str] = {"moving_average": "moving average", "isotonic": "isotonic"}
"""The curves that near-copies are read off -> their names."""
MOST_FLAGS = 3  # in a cell as text; the others in small letters below
FIRST_FLAGS = ("not_judged", "no_curve", "copies_lost", "some_members", *sorted(MISREAD))
"""Flags that come first: they change what is compared, or whether it can be."""
FEWEST = 4  # points of which a correlation has limits
Cells = dict[str, Cell | str]


def exact_table(view: MosaicView) -> Table | None:
    """Tabulate AUC by exact copies: each attack, then the headline's made smooth."""
    curves = {name: view.curve(name) for name in view.attacks}
    first = curves.get(view.attack, [])
    aucs = np.array([row["auc"] for row in first])
    is_whole = len(first) > 0 and not np.isnan(aucs).any()
    even = {READ_OFF[name]: smoothed(aucs, name) for name in READ_OFF if is_whole}
    rows = []
    for at, row in enumerate(first):
        cells: Cells = {"exact copies": at_place(row)}
        for name, line in curves.items():
            own = next((other for other in line if other["x"] == row["x"]), None)
            cells[f"AUC, {words(name)}"] = auc_cell(view.result(own, "auc") if own else None)
        cells |= {
            f"{words(view.attack)}, {name}": fixed_amount(of[at], 3) for name, of in even.items()
        }
        rows.append(cells)
    note = (
        f"{level_percent(view)} intervals in brackets. Near-copies are read off the moving average "
        "(as published) and off the isotonic curve, which never falls."
    )
    return table_of("Membership AUC by number of exact copies", rows, note)


def experiment_tables(view: MosaicView, one: Shown) -> list[Table]:
    """Make the tables of an experiment: under the headline's attack, then the others."""
    row_cells = {"recital": recital_cells, "distance": distance_cells}.get(one.shows, worth_cells)
    made = [points_table(view, one, attack, row_cells) for attack in view.attacks or [""]]
    if one.shows == "recital":  # no attack has a part in it
        made = made[:1]
    if one.shows == "distance":
        made = [distance_ranks(view, one), *made]
    return [table for table in made if table is not None]


def points_table(
    view: MosaicView, one: Shown, attack: str, row_cells: Callable[[MosaicView, Row], Cells]
) -> Table | None:
    """Tabulate an experiment's points under an attack."""
    shown = view.of(one.name, attack)
    has_series = any(row["series"] for row in shown)
    axis = column_head(one.axis)
    rows = []
    for row in shown:
        name: Cells = {"series": row["series"] or "–"} if has_series else {}
        rows.append({**name, axis: at_place(row), **row_cells(view, row)})
    caption = one.title if one.shows == "recital" else f"{one.title} ({attack_words(attack)})"
    note = flaws_note(view, shown) if one.shows in ("rho", "distance") else ""
    table = table_of(caption, rows, note, heads=1 + has_series)
    if table is None:
        return None
    if not any(row["flags"] for row in shown):
        table = without_column(table, "flags")
    return without_dashes(table) or table


def without_column(table: Table, column: str) -> Table:
    """The table without a column, if it has it."""
    kept = [at for at, name in enumerate(table.columns) if name != column]
    rows = tuple(tuple(row[at] for at in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[at] for at in kept), rows=rows)


def worth_cells(view: MosaicView, row: Row) -> Cells:
    """AUC, equivalent copies and rho of a point, and its flags."""
    return {
        "AUC": auc_cell(view.result(row, "auc")),
        "worth, in exact copies": plain_number(view.result(row, "copies"), 1),
        "rho, as published": number(view.result(row, "rho")),
        "rho, isotonic": number(view.result(row, "rho_isotonic")),
        "flags": flags_cell(row["flags"]),
    }


def flags_cell(flags: Sequence[str]) -> Cell:
    """Show all flags of a point: those that change what is compared, then the others."""
    first = [*(name for name in FIRST_FLAGS if name in flags)]
    rest = [flag_name(name) for name in flags if name not in first]
    shown = [flag_name(name) for name in first]
    head = [*shown, *rest[: max(0, MOST_FLAGS - len(shown))]]
    return Cell(text="; ".join(head), small="; ".join(rest[max(0, MOST_FLAGS - len(shown)) :]))


def distance_cells(view: MosaicView, row: Row) -> Cells:
    """What near-copies are worth, and how far they are from their canary."""
    far = {name: plain_number(view.result(row, column), 2) for column, name in DISTANCES.items()}
    return {"rho, as published": number(view.result(row, "rho")), **far}


def recital_cells(view: MosaicView, row: Row) -> Cells:
    """How much of the canary the model recites at a point."""
    return {
        "BLEU": number(view.result(row, "bleu"), 3),
        "edit similarity": number(view.result(row, "edit_similarity"), 3),
    }


def plain_number(row: Result, digits: int) -> Cell:
    """Show a number that has no interval."""
    return Cell(text="–" if math.isnan(row.value) else fixed_amount(row.value, digits))


def distance_ranks(view: MosaicView, one: Shown) -> Table | None:
    """Tabulate how well each distance ranks what near-copies are worth."""
    if not any(pairs(view, one, column) for column in DISTANCES):
        return None
    rows = [
        {
            "distance": name,
            "Spearman’s correlation with rho": number(rho_correlation(view, one, column)),
            "points": f"{len(pairs(view, one, column)):,}",
        }
        for column, name in DISTANCES.items()
    ]
    note = (
        f"−1: whatever is farther away is worth less. In brackets, {level_percent(view)} "
        "intervals: as if these points were drawn at random from many such points, each with a rho "
        "known exactly."
    )
    return table_of("How each distance ranks the worth of near-copies", rows, note)


def pairs(view: MosaicView, one: Shown, column: str) -> list[tuple[Row, float, float]]:
    """Points with a distance and a rho that says something: (point, both)."""
    return [
        (row, row[column], row["rho"])
        for row in view.of(one.name, view.attack)
        if is_sound(row) and not (math.isnan(row[column]) or math.isnan(row["rho"]))
    ]


def rho_correlation(view: MosaicView, one: Shown, column: str) -> Result:
    """Spearman's correlation of a distance with rho over an experiment's points."""
    found = pairs(view, one, column)
    none = Result(
        run=view.run_id,
        stage="mosaic",
        model="",
        metric="distance_spearman",
        value=math.nan,
        level=view.level,
        n=len(found),
        reason=f"fewer than {FEWEST} points",
    )
    if len(found) < FEWEST:
        return none
    known = np.array([(distance, rho) for _, distance, rho in found]).T
    ranked = spearman(known[0], known[1], view.level)
    reason = "all are equal" if math.isnan(ranked.value) else ""
    return replace(none, value=ranked.value, low=ranked.low, high=ranked.high, reason=reason)


def perplexity_table(canaries: Canaries) -> Table | None:
    """Tabulate the canaries of each role: their number and quartiles of perplexity."""
    rows = []
    for role, found in canaries.perplexity.items():
        known = [value for value in found if math.isfinite(value)]
        quarters = np.quantile(known, [0, 0.25, 0.5, 0.75, 1]) if known else [math.nan] * 5
        names = ("least", "lower quartile", "median", "upper quartile", "most")
        cells = {
            name: "–" if math.isnan(value) else fixed_amount(value, 1)
            for name, value in zip(names, quarters, strict=True)
        }
        rows.append({"role": role, "canaries": f"{len(found):,}", **cells})
    return table_of("Canaries, and their perplexity under the model that wrote them", rows)


def rejected_table(canaries: Canaries) -> Table | None:
    """Tabulate the texts that were written and not kept, by reason."""
    counts = canaries.made.get("rejected")
    if not isinstance(counts, dict):
        return None
    rows: list[Cells] = [
        {
            "reason": words(str(reason)),
            "texts": f"{count:,}" if isinstance(count, int) else str(count),
        }
        for reason, count in counts.items()
    ]
    return table_of("Texts that were written and not kept", rows)
