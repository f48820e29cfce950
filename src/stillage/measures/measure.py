"""A measure beside the attacks: its settings, its computation, its section."""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from stillage.errors import ConfigError
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords
    from stillage.audit.given import AuditModel, AuditSettings
    from stillage.data.split import Split
    from stillage.report.cells import Table
    from stillage.report.run_view import RunView
    from stillage.run.config import Config


@dataclass(frozen=True, kw_only=True)
class MeasureInput:
    """What a measure is given."""

    split: Split
    choose: Callable[[], AuditRecords]
    models: tuple[AuditModel, ...]  # the audited ones
    elsewhere: tuple[AuditModel, ...]  # the reference that is given as audit.reference, if any
    settings: AuditSettings  # of `audit`, those that the measure reads; the others at defaults
    params: object  # the measure's own settings, where it has any (`Measure.params`)
    read: Callable[[str], pa.Table]
    """Read a table of an earlier stage that the measure needs, e.g. read("audit/scores")."""

    @cached_property
    def records(self) -> AuditRecords:
        """The evaluated records; chosen when first asked for, as that takes a while."""
        return self.choose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a measure found: tables that are kept by name, and results."""

    tables: Mapping[str, pa.Table] = field(default_factory=dict)
    results: Sequence[Result] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One measure: when it is made, what decides it, how it is computed and shown."""

    name: str  # of its stage and its folder
    run: Callable[[MeasureInput], Measured]
    is_asked: Callable[[Config, Sequence[str]], bool] | None = None
    """Whether a config, with models of these names, asks for it; None: audit.measures names it."""
    reads: tuple[str, ...] = ()
    """The settings of `audit` that it reads: they are its key, and it is given no others."""
    params: type | None = None
    """A frozen dataclass of settings of its own: audit.params.NAME.SETTING."""
    needs: tuple[str, ...] = ()  # earlier stages whose tables it reads, besides the data
    evaluates: bool = True  # whether it reads the evaluated records: how they are chosen is its key
    asks_models: bool = True  # whether it reads the models themselves: their files are its key
    check: Callable[[Config], None] = lambda config: None
    """Refuses, before anything is done, a config under which it could not be made."""
    title: str = ""  # of its section in the report; empty: it has none of its own
    tables: Callable[[RunView], Sequence[Table]] = lambda view: ()
    """Makes the tables of that section."""
    schema: int = 1  # raised when its numbers change their meaning


def asked_measures(
    measures: Mapping[str, Measure], config: Config, models: Sequence[str]
) -> list[Measure]:
    """List the measures that a config asks for. models: the names of its models."""
    named = config.audit.measures
    return [
        one
        for one in measures.values()
        if (one.name in named if one.is_asked is None else one.is_asked(config, models))
    ]


def check_measured(name: str, measured: object) -> Measured:
    """Return what a measure found; ConfigError where it is no tables and no results.

    A result's fields have the types that `Result` states, and name the measure as their stage.
    """
    import pyarrow as pa

    kinds = typing.get_type_hints(Result)

    def refuse(why: str, fix: str) -> ConfigError:
        return ConfigError(f"The measure {name} gave back what cannot be kept.", why, fix)

    if not isinstance(measured, Measured):
        raise refuse(f"it returned {type(measured).__name__}", "Return measures.measure.Measured.")
    if not isinstance(measured.tables, Mapping) or not isinstance(measured.results, list | tuple):
        kinds_given = f"{type(measured.tables).__name__}, {type(measured.results).__name__}"
        raise refuse(f"tables, results: {kinds_given}", "Give a dictionary and a list.")
    if "results" in measured.tables:
        raise refuse("a table is called results", "Call it otherwise: results have that file.")
    for table, content in measured.tables.items():
        if not isinstance(content, pa.Table) or not str(table).isidentifier():
            why = f"tables[{table!r}] is {type(content).__name__}"
            raise refuse(why, "Give pyarrow tables by names of letters, digits and underscores.")
    for row in measured.results:
        if not isinstance(row, Result):
            raise refuse(f"a result is {type(row).__name__}", "Give stillage.types.Result.")
        for column, kind in kinds.items():
            value = getattr(row, column)
            allowed = typing.get_args(kind) or (kind,)
            allowed += (int,) if float in allowed else ()
            if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
                why = f"column {column} of {row.metric!r} is {value!r}"
                raise refuse(why, f"Make it {' or '.join(one.__name__ for one in allowed)}.")
        if row.stage != name:
            fix = "Make results by dataclasses.replace(given.settings.base, ...)."
            raise refuse(f"the stage of {row.metric!r} is {row.stage!r}", fix)
    return measured
