"""Where data come from: files, a data set saved by `datasets`, or the hub."""

from __future__ import annotations

import glob
import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from stillage.corpus.compressed import OPENERS, data_suffix
from stillage.corpus.rows import (
    Piece,
    Row,
    TxtMode,
    data_set_pieces,
    file_pieces,
    file_rows,
    parquet_row_count,
    piece_rows,
)
from stillage.errors import DataError
from stillage.run.folder import sha256_file, sha256_text

SUFFIXES = (".jsonl", ".ndjson", ".json", ".parquet")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
COMMIT = re.compile(r"[0-9a-f]{40}")
SAVED = ("dataset_dict.json", "state.json")
"""Files that mark a folder saved by `datasets`."""
PART = re.compile(r"(train|test|validation|valid|val|dev)(?=[-_.\d]|$)", re.IGNORECASE)
"""What the name of a file of one part begins with, in a folder of a hub's layout."""
SHOWN = 5
log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubPart:
    """What of a hub data set is meant: its commit, configuration and split.

    The split is also that of a data set saved by `datasets`, where it has several.
    """

    revision: str = ""
    subset: str = ""
    split: str = "train"


TRAIN = HubPart()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadAs:
    """How the files of a source are read; see `open_source`."""

    txt: TxtMode | None
    columns: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A part of the input, e.g. one file: its name, a hash of its content, its rows.

    unread: what lies beside it and is not read, files and parts of a saved data set -> rows.
    """

    name: str
    sha256: str
    pieces: Iterable[Piece]
    size: int = 0  # bytes; 0: not known
    unread: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> Iterator[Row]:
        """Its rows, parsed one after the other."""
        return (row for piece in self.pieces for row in piece_rows(piece))


def open_source(
    source: str | Path,
    hub: HubPart = TRAIN,
    *,
    txt: TxtMode | None = None,
    stream: bool = False,
    columns: Sequence[str] = (),
) -> list[Source]:
    """Open the parts of an input, in the order of their names, whatever its format.

    source: a file, a folder, a pattern such as `tasks/t0_*.jsonl`, or a hub id with its commit.
    FOLDER:PART is one part of a saved data set, or of files named after parts (`_chosen_part`);
    without it, `hub.split` is read, or the only part.
    txt: how .txt files are read, into the column `text`; None: they are no data. stream: keep
    nothing of the hub on disk. columns: as in `file_pieces`. Raises DataError where there is
    nothing that can be read.
    """
    path, part = folder_and_part(source)
    if any((path / name).exists() for name in SAVED):
        return [_saved(path, part, hub.split)]
    if path.is_dir():
        return _folder(path, part, hub.split, ReadAs(txt=txt, columns=columns))
    if path.exists():
        return [_file(path, path.name, ReadAs(txt=txt, columns=columns))]
    if is_pattern(source):
        return _pattern(str(source), ReadAs(txt=txt, columns=columns))
    if HUB_ID.fullmatch(str(source)) and not is_data(path, txt):
        return [_hub(str(source), hub, stream)]
    raise DataError("The data file does not exist.", f"looked for: {path}", _formats(txt))


def is_pattern(source: str | Path) -> bool:
    """Whether the source names files by a pattern."""
    return any(mark in str(source) for mark in "*?[")


def folder_and_part(source: str | Path) -> tuple[Path, str]:
    """Split FOLDER:PART; any other source is itself, without a part."""
    folder, _, part = str(source).rpartition(":")
    if folder and Path(folder).is_dir() and not Path(source).exists():
        return Path(folder), part
    return Path(source), ""


def check_format(path: Path, txt: TxtMode | None = None) -> None:
    """Refuse a file whose suffix nothing here reads."""
    if is_data(path, txt):
        return
    suffix = path.suffix.lower()
    separator = {".csv": "", ".tsv": ", sep='\\t'"}.get(suffix)
    read = f"pandas.read_csv('{path}'{separator}).to_parquet('{path.with_suffix('.parquet')}')"
    convert = f'Convert it once: python -c "import pandas; {read}"'
    values = f"{path} ends in {suffix or 'nothing'}"
    fix = _formats(txt) if separator is None else convert
    raise DataError("The format of the data file is unknown.", values, fix)


def is_data(path: Path, txt: TxtMode | None = None) -> bool:
    """Whether a file's name is that of data: a suffix of ours, .gz or .zst behind it."""
    if path.suffix.lower() in OPENERS and data_suffix(path) == ".parquet":
        return False  # is compressed itself, and read from its end
    return data_suffix(path) in (SUFFIXES if txt is None else (*SUFFIXES, ".txt"))


def _formats(txt: TxtMode | None) -> str:
    """What may be given, for an error."""
    kinds = "" if txt is None else ".txt, "
    files = f"Give a {kinds}.jsonl, .json (also .gz, .zst) or .parquet file, a folder of them"
    return f"{files}, a folder saved by `datasets`, or a hub id (check the path)."


def _file(path: Path, name: str, reading: ReadAs) -> Source:
    """One file."""
    check_format(path, reading.txt)
    try:
        size, digest = path.stat().st_size, sha256_file(path)
    except OSError as error:
        values, fix = f"{path}: {error.strerror}", "Check its permissions."
        raise DataError("The data file cannot be read.", values, fix) from error
    if size == 0 and data_suffix(path) != ".txt":  # an empty document is one, and counted
        fix = "Check what wrote it, or give another file."
        raise DataError("The data file is empty.", f"{path}: 0 bytes", fix)
    pieces = Pieces(path=path, name=name, reading=reading)
    return Source(name=name, sha256=digest, pieces=pieces, size=size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pieces:
    """The pieces of a file, read anew whenever they are asked for."""

    path: Path
    name: str
    reading: ReadAs

    def __iter__(self) -> Iterator[Piece]:
        """Open the file."""
        txt = self.reading.txt or "document"
        return file_pieces(self.path, self.name, txt, self.reading.columns)


def _folder(folder: Path, part: str, split: str, reading: ReadAs) -> list[Source]:
    """Every data file below a folder, or those of one part; hidden ones do not count."""
    names = {
        path.relative_to(folder).as_posix(): path
        for path in folder.rglob("*")
        if path.is_file() and not any(one.startswith(".") for one in path.relative_to(folder).parts)
    }
    txt = reading.txt
    data = [name for name in sorted(names) if is_data(names[name], txt)]
    others = sorted(set(names) - set(data))
    if not data:
        values = f"{folder} holds: {', '.join(others[:10]) or 'nothing'}"
        raise DataError("The folder holds no data.", values, _formats(txt))
    if others:
        shown = ", ".join(others[:SHOWN])
        log.warning("%s: %d files are no data and were skipped: %s", folder, len(others), shown)
    chosen, left = _chosen_part(folder, data, part, split)
    parts = {
        name: sum(_row_count(names[one], txt) for one in files) for name, files in left.items()
    }
    _warn_of_unread(f"{len(chosen)} files: {', '.join(chosen[:SHOWN])}", parts)
    first, *rest = [_file(names[name], name, reading) for name in chosen]
    return [replace(first, unread=dict.fromkeys(others, 0) | parts), *rest]


def _warn_of_unread(read: str, unread: Mapping[str, int]) -> None:
    """Say which parts are not read, with their rows."""
    if unread:
        parts = ", ".join(f"{name} ({rows} rows)" for name, rows in unread.items())
        log.warning("read %s; not read: %s", read, parts)


def _chosen_part(
    folder: Path, names: Sequence[str], part: str, split: str
) -> tuple[list[str], dict[str, list[str]]]:
    """Choose the files of one part, by the names of files or of their folders.

    part: asked for by name; without it `split` counts where there are two parts or more; else all
    files are read. Returns the names of the files, and the others by part.
    """
    by_part: dict[str, list[str]] = {}
    for path in names:
        *folders, name = path.split("/")
        marks = [PART.match(name), *(PART.fullmatch(one) for one in reversed(folders))]
        by_part.setdefault(next((mark[1].lower() for mark in marks if mark), ""), []).append(path)
    parts = sorted(name for name in by_part if name)
    if part and not parts:
        what = "Only a data set saved by `datasets`, or one whose files are named after parts, "
        fix = "Give the file itself, or name the files train-..., test-..., validation-... ."
        raise DataError(f"{what}has parts.", f"asked: the part {part} of {folder}", fix)
    if not part and len(parts) < 2:
        return list(names), {}
    chosen = part or split
    if chosen not in parts:
        raise _no_such_part(folder, chosen, parts)
    return by_part.pop(chosen), {
        f"{folder.name}:{name or 'files of no part'}": by_part[name] for name in sorted(by_part)
    }


def _no_such_part(folder: Path, asked: str, parts: Sequence[str]) -> DataError:
    """The error for a part that is not there, with those that are."""
    values, fix = f"asked: {asked}; found: {', '.join(parts)}", f"{folder}:{parts[0]}"
    return DataError("The data set has no such part.", values, f"Name one of them: {fix}.")


def _row_count(path: Path, txt: TxtMode | None) -> int:
    """Count the rows of a file that is not read: all of Parquet, else those not blank."""
    if path.suffix.lower() == ".parquet":
        return parquet_row_count(path)
    return sum(not row.is_blank for row in file_rows(path, path.name, txt or "document"))


def _pattern(pattern: str, reading: ReadAs) -> list[Source]:
    """Every file that a pattern matches."""
    files = [Path(name) for name in glob.glob(pattern, recursive=True)]
    files = sorted(file for file in files if file.is_file())
    if not files:
        values = f"looked for: {pattern}"
        raise DataError("No file matches the pattern.", values, "Check the pattern.")
    in_one_folder = len({file.parent for file in files}) == 1
    return [_file(file, file.name if in_one_folder else str(file), reading) for file in files]


def _saved(folder: Path, part: str, split: str) -> Source:
    """A data set that `datasets` saved, or its part that is asked for."""
    import datasets

    try:
        data = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        values = f"{folder}: {str(error).splitlines()[0]}"
        raise DataError("The saved data set cannot be read.", values, "Save it again.") from error
    place, name, unread = folder, folder.name, dict[str, int]()
    if isinstance(data, datasets.DatasetDict):
        parts = {str(one): rows for one, rows in data.items()}
        chosen = part or (next(iter(parts)) if len(parts) == 1 else split)
        if chosen not in parts:
            raise _no_such_part(folder, chosen, list(parts))
        data, place, name = parts[chosen], folder / chosen, f"{folder.name}:{chosen}"
        unread = {f"{folder.name}:{one}": len(rows) for one, rows in parts.items() if one != chosen}
    elif part:
        values = f"asked: {part}; {folder} is one table"
        raise DataError("The data set has no parts.", values, f"Give {folder}.")
    _warn_of_unread(name, unread)
    files = sorted(path for path in place.rglob("*") if path.suffix in (".arrow", ".json"))
    hashes = [f"{path.relative_to(place).as_posix()} {sha256_file(path)}" for path in files]
    size = sum(path.stat().st_size for path in files)
    digest, pieces = sha256_text("\n".join(hashes)), data_set_pieces(data, name)
    return Source(name=name, sha256=digest, pieces=pieces, size=size, unread=unread)


def _hub(name: str, hub: HubPart, stream: bool) -> Source:
    """A data set of the hub at one commit. Never runs code that comes with it."""
    if not COMMIT.fullmatch(hub.revision):
        raise DataError(
            "No such file, and a hub id needs its commit: it must not change under a run.",
            f"source: {name}; revision: {hub.revision or 'none'}",
            "Check the path; or give the revision, the 40 hexadecimal digits on the data set's "
            "page (Files, History).",
        )
    label = f"hub:{name}/{'/'.join(filter(None, (hub.subset, hub.split)))}"
    pieces = _hub_pieces(name, hub, label, stream)
    return Source(name=label, sha256=f"commit {hub.revision}", pieces=pieces)


def _hub_pieces(name: str, hub: HubPart, label: str, stream: bool) -> Iterator[Piece]:
    """A data set of the hub, in pieces."""
    import datasets
    from datasets.exceptions import DatasetsError

    options = {"split": hub.split, "revision": hub.revision, "streaming": stream}
    try:
        yield from data_set_pieces(
            datasets.load_dataset(name, hub.subset or None, **options), label
        )
    except (OSError, ValueError, RuntimeError, DatasetsError) as error:
        # not found, no network, unknown subset or split, damaged, or made by code that is not run
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        fix = "Check id, subset, split and connection; or download it and give the folder."
        values = f"{name}@{hub.revision}: {first}"
        raise DataError("The data set cannot be read from the hub.", values, fix) from error
