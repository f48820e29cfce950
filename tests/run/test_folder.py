"""Files that are whole or not there: atomic writes, full disks, hashes."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest

from stillage.errors import Interrupted
from stillage.run.folder import (
    atomic,
    changed_file,
    full_disk_interrupts,
    hash_files,
    is_disk_full,
    list_files,
    read_json,
    read_table,
    remove,
    sha256_file,
    sha256_text,
    write_json,
    write_table,
    write_text,
)


def test_atomic_leaves_the_old_file_when_the_body_fails(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="no"), atomic(tmp_path / "a.json") as temporary:
        temporary.write_text("half")
        raise ValueError("no")
    assert read_json(tmp_path / "a.json") == 1
    assert os.listdir(tmp_path) == ["a.json"]


def test_atomic_replaces_a_folder(tmp_path: Path) -> None:
    for content in ("1", "2"):
        with atomic(tmp_path / "model") as temporary:
            temporary.mkdir()
            (temporary / "w").write_text(content)
    assert (tmp_path / "model" / "w").read_text() == "2"
    assert os.listdir(tmp_path) == ["model"]


def test_writers_of_one_file_do_not_touch_what_the_other_has_begun(tmp_path: Path) -> None:
    """Two machines that share the folder may give their processes one number."""
    for name in ("file", "folder"):
        with atomic(tmp_path / name) as first:
            first.write_text("first") if name == "file" else first.mkdir()
            with atomic(tmp_path / name) as second:
                second.write_text("second") if name == "file" else second.mkdir()
    assert (tmp_path / "file").read_text() == "first"
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_full_disk_is_exit_75_and_keeps_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(Interrupted) as caught, atomic(tmp_path / "a.json"):
        raise OSError(28, "No space left on device")
    assert caught.value.exit_code == 75
    assert read_json(tmp_path / "a.json") == 1


KILLED = """
import sys; from pathlib import Path; from stillage.run.folder import write_json
n = 0
while True:
    n += 1
    write_json(Path(sys.argv[1]), ["x" * 1000] * 200 + [n])
"""


def test_sigkill_at_random_moments_never_leaves_a_broken_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    for _ in range(5):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)])
        while not path.exists():
            time.sleep(0.01)
        time.sleep(random.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(read_json(path)) == 201
        assert list_files(tmp_path) == [path]


def test_a_changed_or_missing_file_is_named(tmp_path: Path) -> None:
    for name in ("a.json", "sub/b.json"):
        write_json(tmp_path / name, name)
    hashes = hash_files(tmp_path, list_files(tmp_path))
    assert list(hashes) == ["a.json", "sub/b.json"] and changed_file(tmp_path, hashes) == ""
    write_json(tmp_path / "sub" / "b.json", "other")
    assert changed_file(tmp_path, hashes) == "sub/b.json has changed"
    (tmp_path / "a.json").unlink()
    assert changed_file(tmp_path, hashes) == "a.json is missing"


@pytest.mark.parametrize("error", [OSError(28, "No space left"), ValueError("x (os error 28)")])
def test_a_full_disk_interrupts_whoever_tells_it(tmp_path: Path, error: Exception) -> None:
    target = tmp_path / "a.bin"
    with pytest.raises(Interrupted, match="disk is full"), atomic(target) as temporary:
        temporary.write_text("half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_once_where_writes_are_nested(tmp_path: Path) -> None:
    with (
        pytest.raises(Interrupted) as caught,
        atomic(tmp_path / "folder") as outer,
        atomic(outer / "file"),
    ):
        raise ValueError("x (os error 28)")
    assert len(str(caught.value).splitlines()) == 3


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"b": 1, "a": "é"})
    write_json(tmp_path / "b.json", {"a": "é", "b": 1})
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")
    table = pa.table({"x": [1, 2], "y": ["a", None]})
    for name in ("a", "b"):
        write_table(tmp_path / name, table)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_table(tmp_path / "a").equals(table)


def test_writes_make_the_folders_they_need(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert [path.name for path in list_files(tmp_path)] == ["c.txt"]


def test_what_an_unfinished_write_left_is_no_file(tmp_path: Path) -> None:
    for name in ("b.txt", "a/c.txt", ".tmp-x-1/d.txt", "a/.old-y-2", ".hidden"):
        write_text(tmp_path / name, name)
    names = [path.relative_to(tmp_path).as_posix() for path in list_files(tmp_path)]
    assert names == [".hidden", "a/c.txt", "b.txt"]


def test_remove_takes_files_folders_and_links_but_never_what_a_link_points_to(
    tmp_path: Path,
) -> None:
    write_text(tmp_path / "folder" / "file", "x")
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    for name in ("absent", "link"):
        remove(tmp_path / name)
    assert (tmp_path / "folder" / "file").is_file() and not (tmp_path / "link").is_symlink()
    remove(tmp_path / "folder" / "file")
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_hashes_are_those_of_the_bytes(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "é")
    digest = hashlib.sha256("é".encode()).hexdigest()
    assert sha256_file(tmp_path / "a.txt") == sha256_text("é") == digest


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left"), True),
        (OSError(errno.EDQUOT, "Quota exceeded"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError(f"I/O error: (os error {errno.EDQUOT})"), True),
        (ValueError("(os error 5)"), False),
        (Interrupted("x (os error 28)", "", ""), False),
    ],
)
def test_a_full_disk_is_told_from_other_errors(
    tmp_path: Path, error: Exception, is_full: bool
) -> None:
    assert is_disk_full(error) == is_full
    with pytest.raises(Interrupted if is_full else type(error)), full_disk_interrupts(tmp_path):
        raise error
