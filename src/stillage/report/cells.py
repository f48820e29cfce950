"""A table as plain values, written as HTML, Markdown or text."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from stillage.report.run_view import RunView
from stillage.report.wording import interval, nonmembers_needed, percent, words
from stillage.types import Result

TINTS = 5  # steps of the background of an AUC cell, from chance to 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table.

    tint 0..TINTS shades it; small follows in a lighter line (an interval).
    """

    text: str
    small: str = ""
    tint: int = 0
    kind: Literal["", "mono", "masked"] = ""

    @property
    def plain(self) -> str:
        """The cell as one line of text."""
        return f"{self.text} {self.small}".strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A caption, column heads, and rows of cells.

    The first `heads` columns name the row, the others are numbers.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    heads: int = 1
    note: str = ""

    def __post_init__(self) -> None:
        """Every row has a cell for each column."""
        assert all(len(row) == len(self.columns) for row in self.rows), self.caption


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


def markdown(table: Table) -> str:
    """The table in GitHub's markdown; pipes and line ends in cells are escaped."""
    lines = [
        _pipes(table.columns),
        _pipes("---" if i < table.heads else "---:" for i in range(len(table.columns))),
    ]
    lines += [_pipes(cell.plain for cell in row) for row in table.rows]
    return "\n".join(lines) + "\n"


def _pipes(cells: Iterable[str]) -> str:
    return "| " + " | ".join(" ".join(cell.replace("|", "\\|").split()) for cell in cells) + " |"


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


def head(name: str) -> Cell:
    """A row's name, in words."""
    return Cell(text=words(name))


def model_head(view: RunView, name: str) -> Cell:
    """A row's model, as it is called."""
    return Cell(text=view.called(name))


def bracketed(shown: str) -> Cell:
    """ "0.96 [0.95, 0.97]" with the interval in the small line."""
    value, _, rest = shown.partition(" [")
    return Cell(text=value, small=f"[{rest}" if rest else "")


def number(row: Result | None, digits: int = 2) -> Cell:
    """Show a result as value and interval; a dash, or the reason, where it has none."""
    if row is None:
        return Cell(text="–")
    if math.isnan(row.value):
        return Cell(text="–", small=row.reason or "no value")
    if math.isnan(row.low):
        return Cell(text=interval(row, digits), small=row.reason)
    return bracketed(interval(row, digits))


def share(row: Result | None) -> Cell:
    """A Result as percent and interval; the reason where it was refused."""
    if row is None:
        return Cell(text="–")
    if math.isnan(row.value):
        refused = nonmembers_needed(row) or "too few nonmembers"
        return Cell(text="–", small=refused if row.reason else "no value")
    return bracketed(percent(row))


def auc_cell(row: Result | None) -> Cell:
    """Show an AUC, shaded by how far its interval keeps above 0.5."""
    cell = number(row)
    if row is None or math.isnan(row.low) or row.low <= 0.5:
        return cell
    return Cell(
        text=cell.text,
        small=cell.small,
        tint=max(1, min(TINTS, math.ceil((row.value - 0.5) * 2 * TINTS))),
    )


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
