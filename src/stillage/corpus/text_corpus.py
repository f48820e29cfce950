"""A plain-text corpus in one file: a document per line, newlines as MARK.

This is the convention of MiniLLM (Gu et al. 2024) and DistiLLM (Ko et al. 2024). The format has no
escape, so a document that spells the mark itself is refused (or left out and counted, where asked):
it would come back changed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

from stillage.corpus.compressed import data_suffix
from stillage.corpus.lines import text_lines
from stillage.corpus.rows import MARK, BadLine, Row, TxtMode, Unusable, utf8_text
from stillage.corpus.sources import TRAIN, HubPart, Source, open_source
from stillage.errors import ConfigError, DataError
from stillage.run.folder import atomic, sha256_file, write_json

NEWLINES = re.compile(r"[\r\n]+")  # \r too: readers that open a file as text end a line there
SHOWN = 5
log = logging.getLogger("stillage")


@dataclass(kw_only=True, slots=True)
class CorpusCounts:
    """What a corpus holds, and what was left out or changed on the way.

    Characters are Unicode code points, as read back: runs of newlines count one.
    """

    documents: int = 0
    characters: int = 0
    longest: int = 0  # characters
    empty: int = 0  # documents of nothing but white space, left out
    marked: int = 0  # documents that spell the mark, left out
    collapsed: int = 0  # documents with a run of newlines (or a carriage return) made one newline
    bad_lines: list[BadLine] = field(default_factory=list)
    skipped_files: tuple[str, ...] = ()  # files of a folder whose suffix is not that of data
    sources: dict[str, str] = field(default_factory=dict)  # name of an input -> sha256

    def add(self, text: str) -> None:
        """Count a document that is kept, given without runs of newlines."""
        self.documents += 1
        self.characters += len(text)
        self.longest = max(self.longest, len(text))

    def summary(self) -> str:
        """One line: how many documents, and everything that was left out or changed."""
        held = f"{self.documents} documents, {self.characters} characters, longest {self.longest}"
        counts = {
            "empty documents left out": self.empty,
            f"documents that spell {MARK} left out": self.marked,
            "documents with runs of newlines made one": self.collapsed,
            "broken lines left out": len(self.bad_lines),
            "other files skipped": len(self.skipped_files),
        }
        return "; ".join([held, *(f"{count} {kind}" for kind, count in counts.items() if count)])


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRules:
    """Which texts of a source become documents of a corpus."""

    column: str = "text"  # of tables
    txt: TxtMode = "document"
    on_mark: Literal["refuse", "drop"] = "refuse"
    max_bad_lines: int = 0
    limit: int = 0  # stop after so many documents; 0: all


DEFAULT_RULES = DocumentRules()


def collapse_newlines(text: str) -> str:
    """Make every run of newlines (\\n, \\r\\n, \\r) one \\n: what survives the format."""
    return NEWLINES.sub("\n", text)


def to_line(text: str) -> str:
    """Write a document, which must not spell the mark, as one line.

    from_line(to_line(text)) == collapse_newlines(text): no prefix of the mark is also its suffix,
    so marks cannot overlap, and none arises across an inserted one.
    """
    assert MARK not in text
    return NEWLINES.sub(MARK, text)


def from_line(line: str) -> str:
    """Read the document on one line."""
    return line.replace(MARK, "\n")


def write_text_corpus(
    source: str | Path, out: Path, rules: DocumentRules = DEFAULT_RULES, hub: HubPart = TRAIN
) -> CorpusCounts:
    """Write every document of a source, one a line, by file names and rows.

    source: as in `open_source`. out: a file (a path without suffix is a folder: its data.txt).
    Beside it, `<out>.manifest` (JSON) says where it came from and what was left out. DataError for
    no document, too many unusable rows, or a document that spells the mark.
    """
    if rules.max_bad_lines < 0 or rules.limit < 0:
        values = f"max_bad_lines: {rules.max_bad_lines}; limit: {rules.limit}"
        raise ConfigError("A count is negative.", values, "Give 0 or more.")
    out = out if out.suffix else out / "data.txt"
    parts = open_source(source, hub, txt=rules.txt, stream=True)
    counts = CorpusCounts(
        skipped_files=tuple(name for part in parts for name in part.unread),
        sources={part.name: part.sha256 for part in parts},
    )
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        for text in _documents(parts, rules, counts):
            handle.write(to_line(text) + "\n")
            if rules.limit and counts.documents == rules.limit:
                break
        if not counts.documents:
            left_out = f"{counts.empty} empty, {counts.marked} with the mark"
            values = f"{source}: {left_out}, {len(counts.bad_lines)} broken"
            fix = "Check what wrote it, or give another source."
            raise DataError("The source holds no document.", values, fix)
    manifest = {
        "source": str(source),
        "revision": hub.revision,
        "limit": rules.limit,
        **asdict(counts),
        "format": "one document per line",
        "newline": MARK,
        "bad_lines": [[line.file, line.line, line.reason] for line in counts.bad_lines],
        "sha256": sha256_file(out),
    }
    write_json(out.with_name(out.name + ".manifest"), manifest)
    log.info("%s: %s", out, counts.summary())
    for line in counts.bad_lines[:SHOWN]:
        log.warning("left out: %s", line)
    return counts


def read_text_corpus(path: Path) -> Iterator[str]:
    """Read the documents of a corpus; blank lines are skipped.

    Raises DataError when there is no such file, or for a line that is not UTF-8.
    """
    blank = 0
    for line in _corpus_lines(path):
        if line.strip():
            yield from_line(line)
        else:
            blank += 1
    if blank:
        log.warning("%s: %d blank lines skipped", path, blank)


def measure_text_corpus(path: Path) -> CorpusCounts:
    """Count what a corpus holds. Raises DataError as `read_text_corpus` does."""
    counts = CorpusCounts()
    for line in _corpus_lines(path):
        if line.strip():
            counts.add(from_line(line))
        else:
            counts.empty += 1
    for file in corpus_files(path):
        name = file.name if file == path else file.relative_to(path).as_posix()
        counts.sources[name] = sha256_file(file)
    return counts


def corpus_files(path: Path) -> list[Path]:
    """The files of a corpus: itself, or every .txt (.gz, .zst) of the folder, by name."""
    files = [path] if path.is_file() else sorted(path.rglob("*")) if path.is_dir() else []
    files = [
        file
        for file in files
        if file.is_file()
        and not file.name.startswith(".")
        and (file == path or data_suffix(file) == ".txt")
    ]
    if not files:
        values = f"looked for: {path} (a file, or a folder of .txt)"
        fix = "Make one: stillage data plain-text write SOURCE OUT."
        raise DataError("There is no plain-text corpus.", values, fix)
    return files


def _corpus_lines(path: Path) -> Iterator[str]:
    """The lines of every file; a byte order mark is a character of the first document."""
    for file in corpus_files(path):
        yield from text_lines(file, keep_mark=True)


def _documents(
    parts: Sequence[Source], rules: DocumentRules, counts: CorpusCounts
) -> Iterator[str]:
    """The texts to keep, in order; counts them and everything else."""
    for row in (row for part in parts for row in part.rows):
        text, reason = ("", "") if row.is_blank else _text(row, rules.column)
        if reason:
            counts.bad_lines.append(BadLine(file=row.file, line=row.line, reason=reason))
            if len(counts.bad_lines) > rules.max_bad_lines:
                raise _too_many(counts.bad_lines, rules.max_bad_lines)
        elif not text.strip():
            counts.empty += 1
        elif MARK in text and rules.on_mark == "drop":
            counts.marked += 1
        elif MARK in text:
            values = f"{row.file}, line {row.line}, character {text.index(MARK) + 1}"
            fix = "Leave such documents out (--on-mark drop, counted); "
            fix += "if the file has this format already: --txt lines."
            raise DataError(f"A document spells {MARK}, the mark for a newline.", values, fix)
        else:
            kept = collapse_newlines(text)
            counts.collapsed += kept != text
            counts.add(kept)
            yield kept


def _text(row: Row, column: str) -> tuple[str, str]:
    """(text, "") of a row, or ("", reason). DataError without the column."""
    if row.value is None:
        return "", row.reason
    if column not in row.value:
        columns = ", ".join(map(str, row.value)) or "nothing"
        values = f"{row.file}, line {row.line} has: {columns}; asked: {column}"
        fix = "Name the column: --column NAME."
        raise DataError("The data have no such column of text.", values, fix)
    try:
        return utf8_text(row.value[column], column), ""
    except Unusable as error:
        return "", str(error)


def _too_many(bad: Sequence[BadLine], allowed: int) -> DataError:
    """The error for the unusable row that was one too many."""
    many = f"{len(bad)} rows of the source are no text."
    what = "A row of the source is no text." if len(bad) == 1 else many
    fix = "Mend or remove them; or raise --max-bad-lines "
    fix += f"(now {allowed}) to leave them out, counted and listed."
    return DataError(what, "; ".join(map(str, bad[-SHOWN:])), fix)
