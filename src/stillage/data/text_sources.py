"""Where a plain-text corpus comes from: text files, tables with a column of text, folders of both, or the hub, streamed."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from stillage.data.rows import (
    COMMIT,
    HUB_ID,
    SAVED,
    SUFFIXES,
    Row,
    Source,
    chosen_part,
    folder_and_part,
    open_source,
)
from stillage.errors import DataError
from stillage.run.folder import sha256_file

TxtMode = Literal["document", "lines"]
"""What a .txt file holds: one document, or one on each line (`<@x(x!>` then stands for a newline)."""
FORMATS = "Give .txt, .jsonl, .json or .parquet files, a folder of them, a folder saved by `datasets`, or a hub id."
MARK_BYTES = b"<@x(x!>"
log = logging.getLogger("stillage")


def open_texts(
    source: str | Path,
    *,
    revision: str = "",
    subset: str = "",
    hub_split: str = "train",
    txt: TxtMode = "document",
) -> tuple[list[Source], tuple[str, ...]]:
    """The parts of a source in the order of their names, each with rows to read, and the files that were skipped.

    source: a file (.txt, .jsonl, .json, .parquet), a folder of them, a folder saved by `datasets` (FOLDER:test for
    a part), or a hub id such as `openwebtext` with its 40-digit commit as revision; the hub's rows are
    streamed, nothing is kept on disk. The text of a .txt file stands in the column `text`. Raises DataError when there is
    nothing there.
    """
    path = Path(source)
    folder, part = folder_and_part(source)
    if folder.is_dir():
        if any((folder / name).exists() for name in SAVED):
            return _saved(source, hub_split)
        return _folder(folder, part, hub_split, txt)
    if path.is_file():
        return [_file(path, path.name, txt)], ()
    if HUB_ID.fullmatch(str(source)) and path.suffix.lower() not in (*SUFFIXES, ".txt"):
        return [_hub(str(source), revision, subset, hub_split)], ()
    raise DataError("The source of the corpus does not exist.", f"looked for: {path}", FORMATS)


def _folder(
    folder: Path, part: str, hub_split: str, txt: TxtMode
) -> tuple[list[Source], tuple[str, ...]]:
    """Every data file below a folder, or those of one part, by name; hidden ones do not count, others are skipped."""
    names = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    }
    data = [name for name in sorted(names) if names[name].suffix.lower() in (*SUFFIXES, ".txt")]
    skipped = tuple(sorted(set(names) - set(data)))
    if not data:
        raise DataError(
            "The folder holds no text.",
            f"{folder} holds: {', '.join(skipped[:10]) or 'nothing'}",
            FORMATS,
        )
    if skipped:
        log.warning(
            "%s: %d files are no data and were skipped: %s",
            folder,
            len(skipped),
            ", ".join(skipped[:5]),
        )
    chosen, others = chosen_part(folder, [names[name] for name in data], part, hub_split)
    if others:
        read = ", ".join(path.relative_to(folder).as_posix() for path in chosen[:5])
        log.warning("read %d files: %s; not read: %s", len(chosen), read, ", ".join(others))
    return [_file(path, path.relative_to(folder).as_posix(), txt) for path in chosen], (
        *skipped,
        *others,
    )


def _saved(source: str | Path, hub_split: str) -> tuple[list[Source], tuple[str, ...]]:
    """A data set saved by `datasets`, or the part of it that was asked for; its other parts are named as skipped."""
    found = open_source(source, hub_split=hub_split)
    skipped = tuple(name for part in found for name in part.unread)
    if skipped:
        log.warning("read %s; not read: %s", found[0].name, ", ".join(skipped))
    return found, skipped


def _file(path: Path, name: str, txt: TxtMode) -> Source:
    """One file; a table goes to the readers of records."""
    if path.suffix.lower() != ".txt":
        return replace(open_source(path)[0], name=name)
    rows = _document_row(path, name) if txt == "document" else _text_lines(path, name)
    return Source(name=name, sha256=sha256_file(path), rows=rows)


def _document_row(path: Path, name: str) -> Iterator[Row]:
    """The one document that a text file is."""
    yield _row(path.read_bytes(), name, 1)


def _text_lines(path: Path, name: str) -> Iterator[Row]:
    """The documents that stand on the lines of a text file."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            yield _row(line.rstrip(b"\r\n").replace(MARK_BYTES, b"\n"), name, number)


def _row(content: bytes, name: str, number: int) -> Row:
    """A text as a row with the column `text`; without the byte-order mark that some editors put first."""
    try:
        text = (content.removeprefix(b"\xef\xbb\xbf") if number == 1 else content).decode("utf-8")
    except UnicodeDecodeError as error:
        reason = f"invalid UTF-8 (byte 0x{error.object[error.start]:02x} at {error.start + 1})"
        return Row(file=name, line=number, value=None, reason=reason)
    return Row(file=name, line=number, value={"text": text})


def _hub(name: str, revision: str, subset: str, hub_split: str) -> Source:
    """A data set of the hub at one commit, streamed in its own order. Never runs code that comes with it."""
    if not COMMIT.fullmatch(revision):
        raise DataError(
            "No such file, and a hub id needs its commit: what is downloaded must not change under a run.",
            f"source: {name}; revision: {revision or 'none'}",
            "Check the path; or give --revision, the 40 hexadecimal digits on the data set's page (Files, History).",
        )
    label = f"hub:{name}/{'/'.join(filter(None, (subset, hub_split)))}"
    return Source(
        name=label,
        sha256=f"commit {revision}",
        rows=_streamed(name, revision, subset, hub_split, label),
    )


def _streamed(name: str, revision: str, subset: str, hub_split: str, label: str) -> Iterator[Row]:
    """The rows of a streamed data set."""
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        data = datasets.load_dataset(
            name, subset or None, split=hub_split, revision=revision, streaming=True
        )
        for number, value in enumerate(data, start=1):
            yield Row(file=label, line=number, value=dict(value))
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        # not found, no network, unknown subset or split, damaged, or made by code that we do not run
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fix = "Check id, subset, split and connection; or download it and give the folder."
        raise DataError(
            "The data set cannot be read from the hub.", f"{name}@{revision}: {first}", fix
        ) from error
