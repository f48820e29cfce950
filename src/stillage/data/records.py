"""Read records from any input; what cannot be used is counted and listed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stillage.corpus.rows import BadLine, Row, Unusable
from stillage.corpus.sources import TRAIN, HubPart, Source, open_source
from stillage.data.columns import (
    KNOWN_SHAPES,
    LENGTH,
    USUAL,
    RecordColumns,
    UnknownColumns,
    to_records,
)
from stillage.errors import ConfigError, DataError
from stillage.types import Record

ANY_COLUMNS = RecordColumns()
EXAMPLE = "e.g. columns: {prompt: question, response: answer}"
SHOWN = 5
log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What an input held: its records in order, and what was left out or changed."""

    records: list[Record]
    bad_lines: tuple[BadLine, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)  # what was changed, by kind
    sources: Mapping[str, str] = field(default_factory=dict)  # name of a file -> sha256

    def summary(self) -> str:
        """One line: how many records, and everything that was left out or changed."""
        plural = "s" * (len(self.sources) != 1)
        parts = [f"{len(self.records)} records from {len(self.sources)} source{plural}"]
        parts += [f"{len(self.bad_lines)} broken lines left out"] * bool(self.bad_lines)
        return "; ".join(parts + [f"{kind}: {count}" for kind, count in sorted(self.notes.items())])


def read_records(
    source: str | Path,
    wanted: RecordColumns = ANY_COLUMNS,
    hub: HubPart = TRAIN,
    *,
    max_bad_lines: int = 0,
) -> Loaded:
    """Read every record of a file, a folder, a pattern, a saved data set or a hub id.

    A row without a usable response, broken JSON and invalid UTF-8 are bad lines. Exact duplicates
    are kept: the split collapses them. Raises DataError for a missing or empty input, unknown
    columns, more than max_bad_lines bad lines; ConfigError for a field that does not exist.
    """
    unknown = sorted(set(wanted.named) - set(USUAL))
    if unknown:
        fix, values = f"Fields are: {', '.join(USUAL)}; {EXAMPLE}.", ", ".join(unknown)
        what = "`columns` names a field that does not exist."
        raise ConfigError(what, f"unknown: {values}", fix)
    reading = _Reading(wanted=wanted, max_bad_lines=max_bad_lines)
    sources = open_source(source, hub)
    for part in sources:
        reading.take(part)
    if not reading.records:
        blank = f"{reading.notes['blank lines']} blank lines"
        values = f"{source}: {len(reading.bad)} broken lines, {blank}"
        fix = "Check what wrote it, or give another file."
        raise DataError("The input holds no record.", values, fix)
    reading.check_columns(str(source))
    loaded = Loaded(
        records=reading.records,
        bad_lines=tuple(reading.bad),
        notes=dict(reading.notes),
        sources={part.name: part.sha256 for part in sources},
    )
    log.info("%s: %s", source, loaded.summary())
    for line in loaded.bad_lines[:SHOWN]:
        log.warning("left out: %s", line)
    return loaded


@dataclass(slots=True, kw_only=True)
class _Reading:
    """What has been read so far of an input."""

    wanted: RecordColumns
    max_bad_lines: int
    records: list[Record] = field(default_factory=list)
    bad: list[BadLine] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    columns: dict[str, None] = field(default_factory=dict)  # in the order met

    def take(self, part: Source) -> None:
        """Read one file; stop at the first bad line too many."""
        self.notes.update({f"rows of {one} not read": n for one, n in part.unread.items() if n})
        rows = 0
        for row in part.rows:
            if row.is_blank:
                self.notes["blank lines"] += 1
                continue
            rows += 1
            self.columns.update(dict.fromkeys(map(str, row.value or ())))
            changed: Counter[str] = Counter()  # of a row that is refused, nothing counts
            try:
                if row.value is None:
                    raise Unusable(row.reason)
                place = f"{row.file}:{row.line}"
                self.records += to_records(row.value, self.wanted, place, changed)
                self.notes.update(changed)
            except Unusable as problem:
                self.bad.append(BadLine(file=row.file, line=row.line, reason=str(problem)))
                if len(self.bad) > self.max_bad_lines:
                    raise self.too_many(problem, row) from problem
        if rows == 0:
            fix = "Check what wrote it, or leave it out."
            raise DataError("The data file is empty.", f"{part.name}: no rows", fix)

    def too_many(self, problem: Unusable, row: Row) -> DataError:
        """The error for the bad line that was one too many."""
        if isinstance(problem, UnknownColumns):
            named = ", ".join(f"{name}: {column}" for name, column in self.wanted.named.items())
            asked = f" (asked for {named})" if named else ""
            return _wrong_columns(f"{row.file}, line {row.line}", list(row.value or ()), asked)
        many = f"{len(self.bad)} lines of the data are not records."
        what = "A line of the data is not a record." if len(self.bad) == 1 else many
        fix = f"Mend or remove the line; or set max_bad_lines (now {self.max_bad_lines}) "
        fix += "to leave such lines out, counted and listed."
        return DataError(what, "; ".join(map(str, self.bad[-SHOWN:])), fix)

    def check_columns(self, place: str) -> None:
        """Refuse columns asked for that no row has."""
        asked = (*self.wanted.named.values(), *self.wanted.keep)
        missing = [name for name in asked if name not in self.columns and name != LENGTH]
        values = f" (missing: {', '.join(missing)})"
        if set(missing) & set(self.wanted.named.values()):
            raise _wrong_columns(place, list(self.columns), values)
        if missing:
            what = "A column that is to be kept with the records is not there."
            fix = "Name one of these in data.slice_by, data.group_by or audit.extract."
            raise DataError(what, f"{place} has: {', '.join(self.columns)}{values}", fix)


def _wrong_columns(place: str, columns: list[str], more: str) -> DataError:
    """The error for a table whose columns do not fit."""
    values = f"{place} has: {', '.join(map(str, columns)) or 'no columns'}{more}"
    fix = f"Known: {KNOWN_SHAPES}; or name yours, {EXAMPLE}."
    return DataError("The columns of the data are not known.", values, fix)
