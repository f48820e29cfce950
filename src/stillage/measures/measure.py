"""One thing that is computed beside the attacks: its settings, its work, its section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModel, AuditSettings
    from stillage.report.cells import Table
    from stillage.report.load import RunView
    from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInput:
    """What a measure is given."""

    records: AuditRecords  # the evaluated ones, and the split
    models: tuple[AuditModel, ...]  # the audited ones
    elsewhere: tuple[AuditModel, ...]  # the reference that is given as audit.reference, if any
    settings: AuditSettings  # of `audit`, those that the measure reads; the others at defaults
    params: object  # the measure's own settings, where it has any (`Measure.params`)
    read: Callable[[str], pa.Table]
    """Read a table of an earlier stage that the measure needs, e.g. read("audit/scores")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a measure found: tables that are kept by name, and results."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    results: Sequence[Result] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure: when it is made, what decides it, how it is computed, how it is shown."""

    name: str  # of its stage and its folder
    run: Callable[[MeasureInput], Measured]
    is_asked: Callable[[Config, Sequence[str]], bool]
    """Whether a config, with models of these names, asks for it."""
    reads: tuple[str, ...] = ()
    """The settings of `audit` that it reads: they are its key, and it is given no others."""
    params: type | None = None
    """A frozen dataclass of settings of its own: audit.params.NAME.SETTING."""
    needs: tuple[str, ...] = ()  # earlier stages whose tables it reads, besides the data
    evaluates: bool = True  # whether it reads the evaluated records: how they are chosen is its key
    asks_models: bool = True  # whether it reads the models themselves: their files are its key
    check: Callable[[Config], None] = lambda config: None
    """Refuses, before anything is done, a config under which it could not be made."""
    section: Callable[[RunView], Sequence[Table]] = lambda view: ()
    """The tables of its section in the report."""
    title: str = ""  # of that section
    schema: int = 1  # raised when its numbers change their meaning
