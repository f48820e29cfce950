"""A part of the page that a measure brings along."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from stillage.report.cells import Table
from stillage.report.run_view import RunView


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A heading, and the tables below it."""

    name: str  # the measure's: of its stage, and the anchor in the page
    title: str
    tables: Callable[[RunView], Sequence[Table]]
    """Makes the tables; none where the run has no numbers for them, and no heading then."""
