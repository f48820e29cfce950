"""A table as plain values, for the page and for the terminal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from stillage.report.run_view import RunView
from stillage.report.wording import interval, nonmembers_needed, percent
from stillage.types import Result

TINTS = 5  # steps of the background of an AUC cell, from chance to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    small: str = ""  # an interval or a reason, in a lighter line
    tint: int = 0  # how much it is shaded, up to TINTS
    kind: Literal["", "mono", "masked"] = ""

    @property
    def plain(self) -> str:
        """The cell as one line of text."""
        return f"{self.text} {self.small}".strip()


DASH = Cell(text="–")
"""Not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A caption, column heads, and rows of cells."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heads: int = 1  # so many columns name the row; the others are numbers
    note: str = ""

    def __post_init__(self) -> None:
        """Every row has a cell for each column."""
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption


def table_of(
    caption: str, rows: Sequence[Mapping[str, Cell | str]], note: str = "", *, heads: int = 1
) -> Table | None:
    """Make a table of rows that name their columns; None where there is no row."""
    if not rows:
        return None
    assert all(row.keys() == rows[0].keys() for row in rows), caption
    cells = tuple(
        tuple(Cell(text=cell) if isinstance(cell, str) else cell for cell in row.values())
        for row in rows
    )
    return Table(caption=caption, columns=tuple(rows[0]), rows=cells, heads=heads, note=note)


def without_dashes(table: Table) -> Table | None:
    """Leave out columns that hold nothing but dashes; None where no number is left.

    A dash with a reason under it is something to say.
    """
    kept = [
        i
        for i in range(len(table.columns))
        if i < table.heads or not all(is_dash(row[i]) for row in table.rows)
    ]
    if len(kept) == len(table.columns):
        return table
    if len(kept) == table.heads:
        return None
    rows = tuple(tuple(row[i] for i in kept) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in kept), rows=rows)


def is_dash(cell: Cell) -> bool:
    """Tell whether a cell says nothing."""
    return cell.text in ("", "–") and cell.small in ("", "no value")


def text(table: Table) -> str:
    """The table in aligned columns of plain text."""
    grid = [
        list(table.columns),
        *([" ".join(cell.plain.split()) for cell in row] for row in table.rows),
    ]
    widths = [max(len(row[i]) for row in grid) for i in range(len(table.columns))]
    lines = []
    for row in grid:
        cells = [
            c.ljust(w) if i < table.heads else c.rjust(w)
            for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def bracketed(shown: str, otherwise: str = "") -> Cell:
    """Split "0.96 [0.95, 0.97]": the interval, or `otherwise`, is the small line."""
    value, _, rest = shown.partition(" [")
    return Cell(text=value, small=f"[{rest}" if rest else otherwise)


def number(row: Result | None, digits: int = 2) -> Cell:
    """Show a number and its interval, or why one of them is missing."""
    if row is None:
        return DASH
    if math.isnan(row.value):
        return Cell(text="–", small=row.reason or "no value")
    return bracketed(interval(row, digits), row.reason)


def share(row: Result | None) -> Cell:
    """Show a share in percent and its interval, or why one of them is missing."""
    if row is None:
        return DASH
    if math.isnan(row.value):
        refused = nonmembers_needed(row) or "too few nonmembers"
        return Cell(text="–", small=refused if row.reason else "no value")
    return bracketed(percent(row), row.reason)


def auc_cell(row: Result | None, digits: int = 2) -> Cell:
    """Show an AUC, shaded by its distance from 0.5 where its interval lies above that."""
    cell = number(row, digits)
    if row is None or math.isnan(row.low) or row.low <= 0.5:
        return cell
    return replace(cell, tint=max(1, min(TINTS, math.ceil((row.value - 0.5) * 2 * TINTS))))


def thousands(value: object) -> str:
    """1234567 as "1.23 M"; a dash for what is no number."""
    if not isinstance(value, int | float):
        return "–"
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {unit}"
    return f"{value:g}"


def level_words(view: RunView) -> str:
    """ "95 % intervals in brackets"."""
    return f"{100 * view.level:g} % intervals in brackets"
