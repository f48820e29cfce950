"""The parts of the page that measures bring, and what they show of a plug-in's."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from stillage.report.cells import Table, without_dashes
from stillage.report.discreet import searched
from stillage.report.run_view import STAGES, RunView


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, and the tables below it."""

    name: str  # the measure's: of its stage, and the anchor in the page
    title: str
    tables: Callable[[RunView], Sequence[Table]]
    """Makes the tables; none where the run has no numbers for them, and no heading then."""


def shown_sections(
    view: RunView, sections: Sequence[Section]
) -> list[tuple[str, str, Sequence[Table]]]:
    """Make the sections that have something to show: name, title, tables.

    A plug-in's texts are searched for private ones, as answers are.
    """
    shown = []
    for section in sections:
        made = section.tables(view) if section.title else ()
        found = section.title, [without_dashes(table) or table for table in made]
        if made and section.name not in STAGES and not view.sight.shows_all:
            texts: list[str] = []
            changed(*found, lambda text, to=texts: to.append(text) or text)
            found = changed(*found, searched(view, texts))
        if made:
            shown.append((section.name, *found))
    return shown


def changed(
    title: str, tables: Sequence[Table], change: Callable[[str], str]
) -> tuple[str, list[Table]]:
    """Change every text of a section."""
    return change(title), [
        replace(
            table,
            caption=change(table.caption),
            columns=tuple(map(change, table.columns)),
            rows=tuple(
                tuple(
                    replace(cell, text=change(cell.text), small=change(cell.small)) for cell in row
                )
                for row in table.rows
            ),
            note=change(table.note),
        )
        for table in tables
    ]
