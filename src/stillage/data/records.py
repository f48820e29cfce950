"""Read records from any input; what cannot be used is counted, listed with its place, and refused beyond a limit."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stillage.data.columns import (
    FIELDS,
    LENGTH,
    NEEDED,
    Rejected,
    UnknownColumns,
    Wish,
    record_id,
    to_records,
)
from stillage.data.rows import Row, Source, open_source
from stillage.errors import ConfigError, DataError
from stillage.types import Record

__all__ = ["BadLine", "Loaded", "read_records", "record_id"]

log = logging.getLogger("stillage")
SHOWN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """A line that is no record, and why. line counts from 1."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        """file, line: reason."""
        return f"{self.file}, line {self.line}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What an input held: its records in order, the lines that were none, what was changed (by kind), hashes."""

    records: list[Record]
    bad_lines: tuple[BadLine, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, str] = field(
        default_factory=dict
    )  # name of a file -> sha256 of its bytes

    def summary(self) -> str:
        """One line: how many records, and everything that was left out or changed."""
        parts = [
            f"{len(self.records)} records from {len(self.sources)} source{'s' * (len(self.sources) != 1)}"
        ]
        parts += [f"{len(self.bad_lines)} broken lines left out"] * bool(self.bad_lines)
        return "; ".join(parts + [f"{kind}: {count}" for kind, count in sorted(self.notes.items())])


def read_records(
    source: str | Path,
    *,
    columns: Mapping[str, str] | None = None,
    max_bad_lines: int = 0,
    slice_by: Sequence[str] = (),
    revision: str = "",
    subset: str = "",
    hub_split: str = "train",
    need_response: bool = True,
) -> Loaded:
    """Read every record of a file, a folder, a pattern, a saved data set or a hub id (formats: `rows.open_source`).

    columns names the user's columns by field (prompt, input, response, messages, text); the usual names are found
    without. slice_by: columns to keep in `meta`. need_response=False takes questions without answers, to be generated.
    A row without a usable response, broken JSON and invalid UTF-8 are bad lines. Exact duplicates are kept: the split
    collapses them. Raises DataError for a missing or empty input, unknown columns, more than max_bad_lines bad lines.
    """
    wish = Wish(columns=dict(columns or {}), keep=tuple(slice_by), need_response=need_response)
    _check_names(wish)
    records: list[Record] = []
    bad: list[BadLine] = []
    notes: Counter[str] = Counter()
    sources = open_source(source, revision=revision, subset=subset, hub_split=hub_split)
    seen: dict[str, None] = {}  # column names, in the order met
    for part in sources:
        notes.update({f"rows of {name} not read": count for name, count in part.unread.items()})
        if part.unread:
            others = ", ".join(f"{name} ({count} rows)" for name, count in part.unread.items())
            more = f" and {len(sources) - 1} more" * (len(sources) > 1)
            log.warning("read %s%s; not read: %s", part.name, more, others)
        _read_part(part, wish, max_bad_lines, records, bad, notes, seen)
    if not records:
        values = f"{source}: {len(bad)} broken lines, {notes['blank lines']} blank lines"
        raise DataError(
            "The input holds no record.", values, "Check what wrote it, or give another file."
        )
    missing = [
        name for name in (*wish.columns.values(), *wish.keep) if name not in seen and name != LENGTH
    ]
    if set(missing) & set(wish.columns.values()):
        raise _wrong_columns(str(source), list(seen), f"missing: {', '.join(missing)}")
    if missing:
        raise DataError(
            "A column that is to be kept with the records is not there.",
            f"{source} has: {', '.join(seen)} (missing: {', '.join(missing)})",
            "Name one of these in data.slice_by, data.group_by or audit.extract.",
        )
    loaded = Loaded(
        records=records,
        bad_lines=tuple(bad),
        notes=dict(notes),
        sources={part.name: part.sha256 for part in sources},
    )
    log.info("%s: %s", source, loaded.summary())
    for line in bad[:SHOWN]:
        log.warning("left out: %s", line)
    return loaded


def _check_names(wish: Wish) -> None:
    """Refuse a field that does not exist."""
    unknown = sorted(set(wish.columns) - set(FIELDS))
    if unknown:
        fix = f"Fields are: {', '.join(FIELDS)}; e.g. columns: {{prompt: question, response: answer}}."
        raise ConfigError(
            "`columns` names a field that does not exist.", f"unknown: {', '.join(unknown)}", fix
        )


def _read_part(
    part: Source,
    wish: Wish,
    max_bad_lines: int,
    records: list[Record],
    bad: list[BadLine],
    notes: Counter[str],
    seen: dict[str, None],
) -> None:
    """Append the records, bad lines and column names of one file; stop at the first bad line too many."""
    rows = 0
    for row in part.rows:
        if row.value is None and not row.reason:
            notes["blank lines"] += 1
            continue
        rows += 1
        seen.update(dict.fromkeys(map(str, row.value or ())))
        problem = _take(row, wish, records, notes)
        if problem is None:
            continue
        bad.append(BadLine(file=row.file, line=row.line, reason=str(problem)))
        if len(bad) > max_bad_lines:
            raise _too_many(bad, max_bad_lines, problem, row, wish)
    if rows == 0:
        fix = "Check what wrote it, or leave it out."
        raise DataError("The data file is empty.", f"{part.name}: no rows", fix)


def _take(row: Row, wish: Wish, records: list[Record], notes: Counter[str]) -> Rejected | None:
    """Append the records of one row, or say why there are none."""
    if row.value is None:
        return Rejected(row.reason)
    changed: Counter[str] = Counter()  # a rejected row must not leave counts behind
    try:
        records.extend(to_records(row.value, wish, f"{row.file}:{row.line}", changed))
    except Rejected as problem:
        return problem
    notes.update(changed)
    return None


def _too_many(
    bad: list[BadLine], allowed: int, problem: Rejected, row: Row, wish: Wish
) -> DataError:
    """The error for the bad line that was one too many."""
    last = bad[-1]
    if isinstance(problem, UnknownColumns):
        named = [f"{name}: {column}" for name, column in wish.columns.items()]
        return _wrong_columns(
            f"{last.file}, line {last.line}",
            list(map(str, row.value or ())),
            f"asked for {', '.join(named)}" if named else "",
        )
    if len(bad) == 1:
        what, values = "A line of the data is not a record.", str(last)
    else:
        what = f"{len(bad)} lines of the data are not records."
        values = "; ".join(map(str, bad[-SHOWN:]))
    fix = f"Mend or remove the line; or set max_bad_lines (now {allowed}) to leave such lines out, counted and listed."
    return DataError(what, values, fix)


def _wrong_columns(place: str, found: list[str], more: str) -> DataError:
    """The error for a table whose columns do not fit."""
    values = f"{place} has: {', '.join(found) or 'no columns'}" + (f" ({more})" if more else "")
    fix = f"Known: {NEEDED}; or name yours, e.g. columns: {{prompt: question, response: answer}}."
    return DataError("The columns of the data are not known.", values, fix)
