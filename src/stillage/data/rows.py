"""Rows of any input, one at a time with their place: JSONL, JSON arrays, Parquet, folders, saved data sets, the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.errors import DataError
from stillage.run.folder import sha256_file, sha256_text

if TYPE_CHECKING:
    import datasets

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SAVED = ("dataset_dict.json", "state.json")
"""Files that mark a folder saved by `datasets`."""
PART = re.compile(r"(train|test|validation|valid|val|dev)(?=[-_.\d]|$)", re.IGNORECASE)
"""What the name of a file of one part begins with, in a folder of a hub's layout: train-00000-of-00001.parquet."""
FORMATS = "Give a .jsonl, .json or .parquet file, a folder of them, a folder saved by `datasets`, or a hub id."


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row and its place; line counts from 1 (rows, for Parquet). Where it is broken, value is None."""

    file: str
    line: int
    value: Mapping[str, Any] | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A part of the input, e.g. one file: its name, the hash of its content, and its rows (read when iterated).

    unread: what belongs to it and was not asked for, e.g. the other parts of a saved data set -> their rows.
    """

    name: str
    sha256: str
    rows: Iterable[Row]
    unread: Mapping[str, int] = field(default_factory=dict)


def open_source(
    source: str | Path, *, revision: str = "", subset: str = "", hub_split: str = "train"
) -> list[Source]:
    """The parts of an input, in the order of their names, whatever its format.

    source: a file, a folder, a pattern such as `tasks/t0_*.jsonl`, or a hub id (then revision is its 40-digit commit).
    FOLDER:PART is one part of a saved data set, or of files named after parts (`chosen_part`); without it, hub_split is
    read, or the only part there is.
    Raises DataError when there is nothing there, or nothing that can be read.
    """
    path, part = folder_and_part(source)
    if path.is_dir():
        return _folder(path, part, hub_split)
    if path.exists():
        return [_file(path, path.name)]
    if any(mark in str(source) for mark in "*?["):
        return _pattern(str(source))
    if HUB_ID.fullmatch(str(source)) and path.suffix.lower() not in SUFFIXES:
        return [_hub(str(source), revision, subset, hub_split)]
    raise DataError("The data file does not exist.", f"looked for: {path}", "Check the path.")


def folder_and_part(source: str | Path) -> tuple[Path, str]:
    """The folder and the part that FOLDER:PART names; for any other source itself, and no part."""
    folder, _, part = str(source).rpartition(":")
    return (
        (Path(folder), part)
        if folder and Path(folder).is_dir() and not Path(source).exists()
        else (Path(source), "")
    )


def check_format(path: Path) -> str:
    """The suffix of a data file. DataError where nothing here reads it."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        separator = {".csv": "", ".tsv": ", sep='\\t'"}.get(suffix)
        read = f"pandas.read_csv('{path}'{separator}).to_parquet('{path.with_suffix('.parquet')}')"
        fix = (
            FORMATS if separator is None else f'Convert it once: python -c "import pandas; {read}"'
        )
        raise DataError(
            "The format of the data file is unknown.", f"{path} ends in {suffix or 'nothing'}", fix
        )
    return suffix


def _file(path: Path, name: str) -> Source:
    """One file, its reader chosen by its suffix."""
    suffix = check_format(path)
    try:
        size, digest = path.stat().st_size, sha256_file(path)
    except OSError as error:
        raise DataError(
            "The data file cannot be read.", f"{path}: {error.strerror}", "Check its permissions."
        ) from error
    if size == 0:
        raise DataError(
            "The data file is empty.",
            f"{path}: 0 bytes",
            "Check what wrote it, or give another file.",
        )
    if suffix == ".parquet":
        rows: Iterable[Row] = _parquet_rows(path, name)
    elif suffix == ".json" and _starts_array(path):
        rows = _array_rows(path, name)
    else:
        rows = _line_rows(path, name)
    return Source(name=name, sha256=digest, rows=rows)


def _is_saved(folder: Path) -> bool:
    """Whether `datasets` saved a data set in this folder."""
    return any((folder / name).exists() for name in SAVED)


def _folder(folder: Path, part: str, hub_split: str) -> list[Source]:
    """Every data file below a folder, or the data set that `datasets` saved there."""
    if _is_saved(folder):
        return [_saved(folder, part, hub_split)]
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not files:
        found = sorted(entry.name for entry in folder.iterdir())[:10]
        raise DataError(
            "The folder holds no data.", f"{folder} holds: {', '.join(found) or 'nothing'}", FORMATS
        )
    chosen, others = chosen_part(folder, files, part, hub_split)
    sources = [_file(path, path.relative_to(folder).as_posix()) for path in chosen]
    unread = {name: sum(map(_count, left)) for name, left in others.items()}
    return [replace(sources[0], unread=unread), *sources[1:]]


def chosen_part(
    folder: Path, files: Sequence[Path], part: str, hub_split: str
) -> tuple[list[Path], dict[str, list[Path]]]:
    """The files of one part, and the others by part, where the names of files, or of their folders, begin with parts.

    part: asked for by name; without it hub_split counts, where there are two parts or more, else all files are read.
    """
    found: dict[str, list[Path]] = {}
    for path in files:
        *folders, name = path.relative_to(folder).parts
        marks = [PART.match(name), *(PART.fullmatch(one) for one in reversed(folders))]
        found.setdefault(next((mark[1].lower() for mark in marks if mark), ""), []).append(path)
    names = sorted(name for name in found if name)
    if part and not names:
        raise DataError(
            "Only a data set saved by `datasets`, or one whose files are named after parts, has parts.",
            f"asked: the part {part} of {folder}",
            "Give the file itself, or name the files train-..., test-..., validation-... .",
        )
    if not part and len(names) < 2:
        return list(files), {}
    chosen = part or hub_split
    if chosen not in names:
        raise _no_such_part(folder, chosen, names)
    return found.pop(chosen), {
        f"{folder.name}:{name or 'files of no part'}": found[name] for name in sorted(found)
    }


def _no_such_part(folder: Path, asked: str, names: Sequence[str]) -> DataError:
    """The error for a part that is not there, with those that are."""
    return DataError(
        "The data set has no such part.",
        f"asked: {asked}; found: {', '.join(names)}",
        f"Name one of them: {folder}:{names[0]}.",
    )


def _count(path: Path) -> int:
    """How many rows a file has that is not read: lines that are not blank, entries of an array, or rows of Parquet."""
    if path.suffix.lower() != ".parquet":
        return sum(row.value is not None or bool(row.reason) for row in _file(path, path.name).rows)
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_metadata(path).num_rows
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    """The error for a Parquet file that cannot be read."""
    first = str(error).splitlines()[0]
    return DataError("The Parquet file is damaged.", f"{path}: {first}", "Write it again.")


def _pattern(pattern: str) -> list[Source]:
    """Every file a pattern matches."""
    import glob

    files = sorted(
        Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()
    )
    if not files:
        raise DataError(
            "No file matches the pattern.", f"looked for: {pattern}", "Check the pattern."
        )
    return [
        _file(path, path.name if len({file.parent for file in files}) == 1 else str(path))
        for path in files
    ]


def _line_rows(path: Path, name: str) -> Iterator[Row]:
    """The lines of a JSONL file. Only a newline byte ends a line, so U+2028 inside a text is harmless."""
    with path.open("rb") as handle:
        for number, line in enumerate(handle, start=1):
            value, reason = _parse_line(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            yield Row(file=name, line=number, value=value, reason=reason)


def _parse_line(line: bytes) -> tuple[dict[str, Any] | None, str]:
    """The object on one line, or why there is none; a blank line is (None, "")."""
    if not line.strip():
        return None, ""
    try:
        value = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return None, f"invalid UTF-8 (byte 0x{line[error.start]:02x} at column {error.start + 1})"
    except json.JSONDecodeError as error:
        return None, f"broken JSON ({error.msg} at column {error.colno})"
    except RecursionError:
        return None, "broken JSON (nested too deeply)"
    return (
        (value, "")
        if isinstance(value, dict)
        else (None, f"not a JSON object but a {type(value).__name__}")
    )


def _starts_array(path: Path) -> bool:
    """Is this .json file one array of objects, rather than an object per line?"""
    with path.open("rb") as handle:
        return handle.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")


def _array_rows(path: Path, name: str) -> Iterator[Row]:
    """The entries of one JSON array; line is the entry's number."""
    try:
        values = json.loads(path.read_bytes().decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        values = f"{path}: byte 0x{error.object[error.start]:02x} at {error.start + 1}"
        raise DataError("The data file is invalid UTF-8.", values, "Save it as UTF-8.") from error
    except (json.JSONDecodeError, RecursionError) as error:
        fix = "Mend it, or write one object per line."
        raise DataError("The JSON array is broken.", f"{path}: {error}", fix) from error
    for number, value in enumerate(values, start=1):
        good = isinstance(value, dict)
        reason = "" if good else f"not a JSON object but a {type(value).__name__}"
        yield Row(file=name, line=number, value=value if good else None, reason=reason)


def _parquet_rows(path: Path, name: str) -> Iterator[Row]:
    """The rows of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for value, reason in _batch_values(batch):
                    number += 1
                    yield Row(file=name, line=number, value=value, reason=reason)
    except pa.ArrowException as error:
        raise _damaged(path, error) from error


def _batch_values(batch: Any) -> Iterator[tuple[dict[str, Any] | None, str]]:  # noqa: ANN401 - pyarrow has no types
    """The rows of one record batch; a row whose text is not UTF-8 is (None, reason), and its neighbours survive."""
    try:
        values = batch.to_pylist()
    except UnicodeDecodeError as error:
        if batch.num_rows == 1:
            yield None, f"invalid UTF-8 (byte {error.start + 1} of a text)"
            return
        for index in range(batch.num_rows):
            yield from _batch_values(batch.slice(index, 1))
        return
    for value in values:
        yield value, ""


def _saved(folder: Path, part: str, hub_split: str) -> Source:
    """A data set that `datasets` saved to disk; of several parts the one asked for, or the only one."""
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise DataError(
            "The saved data set cannot be read.", f"{folder}: {first}", "Save it again."
        ) from error
    place, name, unread = folder, folder.name, dict[str, int]()
    if isinstance(data, datasets.DatasetDict):
        parts = {str(one): rows for one, rows in data.items()}
        chosen = part or (next(iter(parts)) if len(parts) == 1 else hub_split)
        if chosen not in parts:
            raise _no_such_part(folder, chosen, list(parts))
        data, place, name = parts[chosen], folder / chosen, f"{folder.name}:{chosen}"
        unread = {
            f"{folder.name}:{other}": len(rows) for other, rows in parts.items() if other != chosen
        }
    elif part:
        raise DataError(
            "The data set has no parts.", f"asked: {part}; {folder} is one table", f"Give {folder}."
        )
    files = sorted(path for path in place.rglob("*") if path.suffix in (".arrow", ".json"))
    digest = sha256_text(
        "\n".join(f"{path.relative_to(place).as_posix()} {sha256_file(path)}" for path in files)
    )
    return Source(name=name, sha256=digest, rows=_data_set_rows(data, name), unread=unread)


def _hub(name: str, revision: str, subset: str, hub_split: str) -> Source:
    """A data set of the hub at one commit. Never runs code that comes with it."""
    if not COMMIT.fullmatch(revision):
        raise DataError(
            "No such file, and a hub id needs its commit: what is downloaded must not change under a run.",
            f"source: {name}; revision: {revision or 'none'}",
            "Check the path; or set `revision` to the 40 hexadecimal digits on the data set's page (Files, History).",
        )
    import datasets
    from datasets.exceptions import DatasetsError

    try:
        data = datasets.load_dataset(name, subset or None, split=hub_split, revision=revision)
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        # not found, no network, unknown subset or split, damaged, or made by code that we do not run
        first = str(error).strip().splitlines()[0]
        fix = "Check id, subset, split and connection; or download it and give the folder."
        raise DataError(
            "The data set cannot be loaded from the hub.", f"{name}@{revision}: {first}", fix
        ) from error
    part = "/".join(filter(None, (subset, hub_split)))
    label = f"hub:{name}/{part}"
    return Source(name=label, sha256=f"commit {revision}", rows=_data_set_rows(data, label))


def _data_set_rows(data: datasets.Dataset, name: str) -> Iterator[Row]:
    """The rows of a `datasets.Dataset`."""
    for number, value in enumerate(data, start=1):
        yield Row(file=name, line=number, value=dict(value))
