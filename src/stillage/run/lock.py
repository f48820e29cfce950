"""One process to a run folder: a lock that names its owner, and vanishes with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TextIO

from stillage.errors import ConfigError


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock, which the operating system drops when the process dies.

    Raises ConfigError naming process and host when another live process holds it, unless asked to
    `wait` for it.
    """
    with take(folder, wait) as handle:
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        handle.flush()
        yield


def take(folder: Path, wait: bool) -> TextIO:
    """Open and lock the file; try again where its owner removed it as it ended."""
    path = folder / ".lock"
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            handle = path.open("a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # the owner removed the folder just now
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if is_open(handle, path):
                return handle
        except BlockingIOError as error:
            refusal = in_use(folder, handle)
            handle.close()
            raise refusal from error
        except BaseException:
            handle.close()
            raise
        handle.close()


def is_open(handle: TextIO, path: Path) -> bool:
    """Whether it is the file that lies at the path now."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def check_free(folder: Path) -> None:
    """Raise what `locked` would now, without taking the lock; writes nothing."""
    with suppress(FileNotFoundError), (folder / ".lock").open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use(folder, handle) from error


def in_use(folder: Path, handle: TextIO) -> ConfigError:
    """What is said of a folder that another process holds; handle: its lock file."""
    handle.seek(0)
    what = f"The run folder {folder} is in use by a live process."
    fix = "Wait for it to end, stop it, or choose another folder with --out."
    return ConfigError(what, f"owner: {handle.read().strip() or 'unknown'}", fix)
