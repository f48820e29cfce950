"""Files that are whole or not there, written atomically; hashes of their content."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.errors import Interrupted

if TYPE_CHECKING:
    import pyarrow as pa

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def is_disk_full(error: Exception) -> bool:
    """Whether a write ran out of space; Rust code tells it in its text only."""
    if isinstance(error, Interrupted):  # it has been said by whoever met it first
        return False
    number = error.errno if isinstance(error, OSError) else None
    return number in DISK_FULL or any(f"os error {number}" in str(error) for number in DISK_FULL)


def disk_full(path: Path, error: Exception) -> Interrupted:
    """The error for a write that ran out of space; the same command continues."""
    free = shutil.disk_usage(path if path.exists() else path.parent).free
    why = error.strerror if isinstance(error, OSError) else str(error)
    return Interrupted(
        f"The disk is full: {path} could not be written ({why}).",
        f"free: {free / 2**20:.0f} MiB; everything written before is intact",
        "Free some space (or choose another folder with --out) and run the same command again: "
        "it continues.",
    )


@contextmanager
def full_disk_interrupts(path: Path) -> Iterator[None]:
    """Turn a full disk, whoever meets it in the body, into Interrupted (exit 75)."""
    try:
        yield
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(path, error) from error
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yield a temporary path, which becomes `path` on success and vanishes on failure.

    Works for a file or a folder that the body creates at the yielded path; it is flushed to disk
    first. A folder replaces an existing one. Raises Interrupted (exit 75) when the disk is full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # two machines may have the same process number
    mark = f"{path.name}-{os.getpid()}-{secrets.token_hex(4)}"
    temporary, aside = path.parent / f".tmp-{mark}", path.parent / f".old-{mark}"
    with full_disk_interrupts(path):  # outermost: it says what is free once this is removed
        try:
            yield temporary
            sync(temporary)
            if temporary.is_dir() and path.exists():
                path.rename(aside)
                temporary.rename(path)
                remove(aside)
            else:
                temporary.replace(path)
            sync_folder(path.parent)
        finally:
            remove(temporary)


def remove(path: Path) -> None:
    """Remove a file or a folder of ours, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file, or a folder's files, to disk, before what renames them."""
    for file in list_files(path) if path.is_dir() else [path]:
        with file.open("rb") as handle:
            os.fsync(handle.fileno())


def sync_folder(folder: Path) -> None:
    """Flush the folder's own entry list, so that a rename survives a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object) -> None:
    """Write JSON atomically, with sorted keys, so that equal values give equal bytes."""
    write_text(path, json_text(value))


def json_text(value: object) -> str:
    """A value as JSON, one entry a line, with sorted keys."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_json(path: Path) -> Any:  # noqa: ANN401 - JSON is what its writer made it
    """Read a JSON file of ours."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_table(
    path: Path, table: pa.Table, about: Mapping[str, str] | Mapping[bytes, bytes] | None = None
) -> None:
    """Write a Parquet table atomically; equal tables give equal bytes.

    about: metadata of the file; those of the table's schema are left out, see
    `write_with_metadata`.
    """
    import pyarrow.parquet as pq

    with (
        atomic(path) as temporary,
        pq.ParquetWriter(temporary, table.schema, compression="zstd", store_schema=False) as writer,
    ):
        writer.write_table(table)
        if about:
            writer.add_key_value_metadata(dict(about))


def write_with_metadata(path: Path, table: pa.Table) -> None:
    """Write a Parquet table as `write_table`, with the metadata of its schema."""
    write_table(path, table, table.schema.metadata)


def read_table(path: Path) -> pa.Table:
    """Read one Parquet table."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path).read()


def sha256_file(path: Path) -> str:
    """The sha256 of a file's bytes, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_text(text: str) -> str:
    """The sha256 of a text's UTF-8 bytes, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def hash_files(folder: Path, files: Iterable[Path]) -> dict[str, str]:
    """The sha256 of files of a folder, by relative path."""
    return {str(path.relative_to(folder)): sha256_file(path) for path in files}


def changed_file(folder: Path, hashes: Mapping[str, str]) -> str:
    """Say which file is not as it was hashed (`hash_files`); empty where all are."""
    for name, digest in hashes.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if sha256_file(path) != digest:
            return f"{name} has changed"
    return ""


def list_files(folder: Path) -> list[Path]:
    """Every file below a folder, sorted, without temporaries of unfinished writes."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not any(part.startswith((".tmp-", ".old-")) for part in path.relative_to(folder).parts)
    )
