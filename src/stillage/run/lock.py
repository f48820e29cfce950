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
            owner = path.read_text(encoding="utf-8").strip() or "unknown"
            raise ConfigError(
                f"The run folder {folder} is in use by a live process.",
                f"owner: {owner}",
                "Wait for it to end, stop it, or choose another folder with --out.",
            ) from error
        handle.truncate(0)
        handle.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        handle.flush()
        yield
