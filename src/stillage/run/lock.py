"""One process to a run folder: a lock that names its owner, and vanishes with it."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stillage.errors import ConfigError


@contextmanager
def locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold the folder's lock; the operating system drops it when the process dies, so that a stale one cannot be left.

    Raises ConfigError naming process and host when another live process holds it, unless asked to `wait` for it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ".lock"
    with path.open("a+", encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise in_use(folder) from error
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        handle.flush()
        yield


def check_free(folder: Path) -> None:
    """The refusal that `locked` would raise now, without taking the lock; writes nothing."""
    path = folder / ".lock"
    if not path.is_file():
        return
    with path.open(encoding="utf-8") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise in_use(folder) from error


def in_use(folder: Path) -> ConfigError:
    """What is said of a folder that another process holds."""
    owner = (folder / ".lock").read_text(encoding="utf-8").strip() or "unknown"
    return ConfigError(
        f"The run folder {folder} is in use by a live process.",
        f"owner: {owner}",
        "Wait for it to end, stop it, or choose another folder with --out.",
    )
