"""The store of a sweep holds the stages of all points; each point links to them."""

from __future__ import annotations

import re
from pathlib import Path

from stillage.errors import DataError, listed


def store_of(run: Path) -> Path | None:
    """Find the store that a sweep's point links to, there or not; None for other runs."""
    for entry in sorted(run.iterdir()) if run.is_dir() else []:
        target = entry.resolve()
        name = rf"{re.escape(entry.name)}-[0-9a-f]{{16}}"
        if entry.is_symlink() and re.fullmatch(name, target.name):
            return target.parent
    return None


def check_store(run: Path) -> None:
    """Refuse a point of a sweep that lies without its store (DataError)."""
    store = store_of(run)
    if store is not None and not store.is_dir():
        stages = sorted(entry.name for entry in run.iterdir() if entry.is_symlink())
        raise DataError(
            f"{run} is one point of a sweep, and the store that holds its stages is missing.",
            f"not there: {store} (for {listed(stages)})",
            "Copy the whole folder of the sweep, or make a copy of this point alone: "
            "stillage export POINT FOLDER",
        )
