"""A plain-text corpus in one file: a document per line, its runs of newlines written as the mark `<@x(x!>`.

This is the convention of MiniLLM (Gu et al. 2024) and DistiLLM (Ko et al. 2024). The format has no escape, so a document
that spells the mark itself is refused (or left out and counted, where asked): it would come back changed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from stillage.data.records import BadLine
from stillage.data.rows import Row, Source
from stillage.data.text_sources import TxtMode, open_texts
from stillage.errors import ConfigError, DataError
from stillage.run.folder import atomic, sha256_file, write_json

MARK = "<@x(x!>"
NEWLINES = re.compile(r"[\r\n]+")  # \r too: readers that open a file as text end a line there
SHOWN = 5
log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """What a corpus holds, and what was left out or changed on the way; characters are Unicode code points."""

    documents: int
    characters: int  # as read back: runs of newlines count one
    longest: int  # characters
    empty: int = 0  # documents of nothing but white space, left out
    marked: int = 0  # documents that spell the mark, left out
    collapsed: int = (
        0  # documents in which a run of newlines (or a carriage return) became one newline
    )
    bad_lines: tuple[BadLine, ...] = ()
    skipped_files: tuple[str, ...] = ()  # files of a folder whose suffix is not that of data
    sources: dict[str, str] = field(default_factory=dict)  # name of an input -> sha256

    def summary(self) -> str:
        """One line: how many documents, and everything that was left out or changed."""
        parts = [
            f"{self.documents} documents, {self.characters} characters, longest {self.longest}"
        ]
        parts += [f"{self.empty} empty documents left out"] * bool(self.empty)
        parts += [f"{self.marked} documents that spell {MARK} left out"] * bool(self.marked)
        parts += [f"{self.collapsed} documents with runs of newlines made one"] * bool(
            self.collapsed
        )
        parts += [f"{len(self.bad_lines)} broken lines left out"] * bool(self.bad_lines)
        parts += [f"{len(self.skipped_files)} other files skipped"] * bool(self.skipped_files)
        return "; ".join(parts)


def collapse_newlines(text: str) -> str:
    """The text with every run of newlines (\\n, \\r\\n, \\r) as one \\n: what survives the format."""
    return NEWLINES.sub("\n", text)


def to_line(text: str) -> str:
    """A document as one line, without its end. from_line(to_line(text)) == collapse_newlines(text).

    No prefix of the mark is also its suffix, so marks cannot overlap, and none arises across an inserted one.
    Raises DataError when the document spells the mark.
    """
    if MARK in text:
        where = text.index(MARK)
        near = text[max(0, where - 20) : where + len(MARK) + 20]
        fix = "Change it there; or leave such documents out (--on-mark drop): they are counted."
        raise DataError(
            f"A document spells {MARK}, the mark for a newline.",
            f"at character {where}: {near!r}",
            fix,
        )
    return NEWLINES.sub(MARK, text)


def from_line(line: str) -> str:
    """The document on one line (given without its end)."""
    return line.replace(MARK, "\n")


def write_plain_text(
    source: str | Path,
    out: Path,
    *,
    column: str = "text",
    revision: str = "",
    subset: str = "",
    hub_split: str = "train",
    txt: TxtMode = "document",
    on_mark: Literal["refuse", "drop"] = "refuse",
    max_bad_lines: int = 0,
    limit: int = 0,
) -> Corpus:
    """Write every document of a source into `out`, one a line, in the order of the files' names and their rows.

    source: as in `open_texts`. out: a file (a path without suffix is a folder: its data.txt). limit: stop after so many
    documents (0: all). Beside it, `<out>.manifest` (JSON) says where it came from and what was left out. Raises DataError
    for a source without documents, more than max_bad_lines unusable rows, or a document that spells the mark.
    """
    if max_bad_lines < 0 or limit < 0:
        values = f"max_bad_lines: {max_bad_lines}; limit: {limit}"
        raise ConfigError("A count is negative.", values, "Give 0 or more.")
    out = out if out.suffix else out / "data.txt"
    parts, skipped = open_texts(
        source, revision=revision, subset=subset, hub_split=hub_split, txt=txt
    )
    tally = _Tally()
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        for text in _usable(parts, column, on_mark, max_bad_lines, tally):
            handle.write(to_line(text) + "\n")
            if limit and tally.documents == limit:
                break
        if not tally.documents:
            values = f"{source}: {tally.empty} empty, {tally.marked} with the mark, {len(tally.bad)} broken"
            raise DataError(
                "The source holds no document.",
                values,
                "Check what wrote it, or give another source.",
            )
    corpus = Corpus(
        documents=tally.documents,
        characters=tally.characters,
        longest=tally.longest,
        empty=tally.empty,
        marked=tally.marked,
        collapsed=tally.collapsed,
        bad_lines=tuple(tally.bad),
        skipped_files=skipped,
        sources={part.name: part.sha256 for part in parts},
    )
    write_json(
        out.with_name(out.name + ".manifest"), _manifest(corpus, out, str(source), revision, limit)
    )
    log.info("%s: %s", out, corpus.summary())
    for line in corpus.bad_lines[:SHOWN]:
        log.warning("left out: %s", line)
    return corpus


def read_plain_text(path: Path) -> Iterator[str]:
    """The documents of a file in this format, or of every .txt file below a folder by name; blank lines are skipped.

    Raises DataError when there is no such file, or for a line that is not UTF-8 (with its number).
    """
    blank = 0
    for file in plain_text_files(path):
        with file.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                text = _decoded(line, file, number)
                if text.strip():
                    yield from_line(text)
                else:
                    blank += 1
    if blank:
        log.warning("%s: %d blank lines skipped", path, blank)


def measure(path: Path) -> Corpus:
    """Count what a corpus in this format holds. Raises DataError as `read_plain_text` does."""
    documents = characters = longest = blank = 0
    files = plain_text_files(path)
    for file in files:
        with file.open("rb") as handle:
            for number, line in enumerate(handle, start=1):
                text = from_line(_decoded(line, file, number))
                if text.strip():
                    documents, characters, longest = (
                        documents + 1,
                        characters + len(text),
                        max(longest, len(text)),
                    )
                else:
                    blank += 1
    sources = {
        file.name if file == path else file.relative_to(path).as_posix(): sha256_file(file)
        for file in files
    }
    return Corpus(
        documents=documents, characters=characters, longest=longest, empty=blank, sources=sources
    )


def plain_text_files(path: Path) -> list[Path]:
    """The files of a corpus in this format: the file, or every .txt below the folder, sorted by name."""
    files = [path] if path.is_file() else sorted(path.rglob("*.txt")) if path.is_dir() else []
    files = [file for file in files if not file.name.startswith(".")]
    if not files:
        fix = "Make one: stillage data plain-text write SOURCE OUT."
        raise DataError(
            "There is no plain-text corpus.",
            f"looked for: {path} (a file, or a folder of .txt)",
            fix,
        )
    return files


class _Tally:
    """What has been counted so far, while documents stream by."""

    def __init__(self) -> None:
        self.documents = self.characters = self.longest = self.empty = self.marked = (
            self.collapsed
        ) = 0
        self.bad: list[BadLine] = []

    def take(self, text: str) -> None:
        """Count one document that is kept."""
        kept = collapse_newlines(text)
        self.documents += 1
        self.characters += len(kept)
        self.longest = max(self.longest, len(kept))
        self.collapsed += kept != text


def _usable(
    parts: list[Source],
    column: str,
    on_mark: Literal["refuse", "drop"],
    max_bad_lines: int,
    tally: _Tally,
) -> Iterator[str]:
    """The texts to keep, in order; the tally counts them and everything else."""
    for part in parts:
        for row in part.rows:
            if row.value is None and not row.reason:
                tally.empty += 1
                continue
            text, reason = _text_of(row, column)
            if reason:
                tally.bad.append(BadLine(file=row.file, line=row.line, reason=reason))
                if len(tally.bad) > max_bad_lines:
                    raise _too_many(tally.bad, max_bad_lines)
            elif not text.strip():
                tally.empty += 1
            elif MARK in text and on_mark == "drop":
                tally.marked += 1
            else:
                _check_mark(text, row)
                tally.take(text)
                yield text


def _text_of(row: Row, column: str) -> tuple[str, str]:
    """(text, "") of a row, or ("", reason). Raises DataError when the table has no such column."""
    if row.value is None:
        return "", row.reason
    if column not in row.value:
        values = f"{row.file}, line {row.line} has: {', '.join(map(str, row.value)) or 'nothing'}; asked: {column}"
        raise DataError(
            "The data have no such column of text.", values, "Name the column: --column NAME."
        )
    text = row.value[column]
    if text is None:
        return "", ""
    if not isinstance(text, str):
        return "", f"column {column} holds {type(text).__name__}, not text"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return "", f"column {column} holds half a surrogate pair at character {error.start + 1}"
    return text, ""


def _check_mark(text: str, row: Row) -> None:
    """Refuse a document that spells the mark, with its place."""
    if MARK not in text:
        return
    fix = "Leave such documents out (--on-mark drop, counted); if the file has this format already: --txt lines."
    values = f"{row.file}, line {row.line}, character {text.index(MARK) + 1}"
    raise DataError(f"A document spells {MARK}, the mark for a newline.", values, fix)


def _too_many(bad: list[BadLine], allowed: int) -> DataError:
    """The error for the unusable row that was one too many."""
    what = (
        "A row of the source is no text."
        if len(bad) == 1
        else f"{len(bad)} rows of the source are no text."
    )
    fix = f"Mend or remove them; or raise --max-bad-lines (now {allowed}) to leave them out, counted and listed."
    return DataError(what, "; ".join(map(str, bad[-SHOWN:])), fix)


def _decoded(line: bytes, file: Path, number: int) -> str:
    """One line as text, without its end."""
    try:
        return line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
    except UnicodeDecodeError as error:
        values = f"{file}, line {number}: byte 0x{line[error.start]:02x} at {error.start + 1}"
        raise DataError(
            "The plain-text corpus is invalid UTF-8.", values, "Write it again from its source."
        ) from error


def _manifest(
    corpus: Corpus, out: Path, source: str, revision: str, limit: int
) -> dict[str, object]:
    """Where a corpus came from and what was left out, for its manifest."""
    return {
        "format": "one document per line",
        "newline": MARK,
        "source": source,
        "revision": revision,
        "limit": limit,
        "documents": corpus.documents,
        "characters": corpus.characters,
        "longest": corpus.longest,
        "empty": corpus.empty,
        "marked": corpus.marked,
        "collapsed": corpus.collapsed,
        "bad_lines": [[line.file, line.line, line.reason] for line in corpus.bad_lines],
        "skipped_files": list(corpus.skipped_files),
        "sources": corpus.sources,
        "sha256": sha256_file(out),
    }
