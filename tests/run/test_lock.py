"""The lock of a run folder: who holds it, and who is refused."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TextIO

import pytest

from stillage.errors import ConfigError
from stillage.run import lock
from stillage.run.lock import locked

HOLDER = """
import sys, time; from pathlib import Path; from stillage.run.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True); time.sleep(60)
"""


def test_a_live_owner_is_named_and_a_dead_one_is_forgotten(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    with pytest.raises(ConfigError) as caught, locked(tmp_path):
        pass
    assert str(process.pid) in str(caught.value)
    process.kill()
    process.wait()
    with locked(tmp_path):
        pass


def test_a_lock_file_that_its_owner_removes_as_it_ends_is_not_worth_a_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The owner removes it between another's opening and locking it: that one locks the file that lies there now."""
    flock, calls = fcntl.flock, []

    def removed_first(handle: TextIO, how: int) -> None:
        if not calls:
            (tmp_path / ".lock").unlink()
        calls.append(how)
        flock(handle, how)

    monkeypatch.setattr(lock.fcntl, "flock", removed_first)
    with locked(tmp_path), pytest.raises(ConfigError, match="in use"), locked(tmp_path):
        pass
    assert len(calls) == 3


def test_who_is_refused_while_the_owner_removes_its_lock_is_told_the_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flock = fcntl.flock

    def removed_after(handle: TextIO, how: int) -> None:
        try:
            flock(handle, how)
        except BlockingIOError:
            (tmp_path / ".lock").unlink()
            raise

    with locked(tmp_path):
        monkeypatch.setattr(lock.fcntl, "flock", removed_after)
        with pytest.raises(ConfigError, match=f'"pid": {os.getpid()}'), locked(tmp_path):
            pass


def test_a_folder_that_its_owner_removes_as_it_ends_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, mkdir, calls = tmp_path / "run", Path.mkdir, []

    def removed_after(path: Path, **how: bool) -> None:
        mkdir(path, **how)
        calls.append(path)
        if len(calls) == 1:
            path.rmdir()

    monkeypatch.setattr(Path, "mkdir", removed_after)
    with locked(folder):
        assert (folder / ".lock").is_file() and len(calls) == 2


def test_a_free_folder_is_said_to_be_free_and_nothing_is_written(tmp_path: Path) -> None:
    lock.check_free(tmp_path / "absent")
    lock.check_free(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        owner = json.loads((tmp_path / ".lock").read_text(encoding="utf-8"))
        assert owner["pid"] == os.getpid() and owner["host"]
        with pytest.raises(ConfigError, match=f'"pid": {os.getpid()}'):
            lock.check_free(tmp_path)
    lock.check_free(tmp_path)


def test_who_waits_gets_the_lock_when_its_owner_ends(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with locked(tmp_path, wait=True):
            order.append("second")

    with locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
