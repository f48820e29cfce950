"""`stillage export RUN FOLDER`: a copy of a run, or of one point of a sweep, that needs nothing beside it."""

from __future__ import annotations

from pathlib import Path

from stillage.errors import ConfigError

USAGE = """usage: stillage export RUN FOLDER

       Copies a finished run, or one point of a sweep with its share of the store, into a new folder: real files instead of
       links, every file checked against its manifest. `report`, `audit`, `compare` and `run` work on the copy.
"""


def main(verb: str, words: list[str]) -> int:
    """Copy, and say what was copied."""
    from stillage.experiment.export import export
    from stillage.run.folder import files_of

    if "--help" in words or "-h" in words:
        print(USAGE)
        return 0
    if len(words) != 2 or any(word.startswith("-") for word in words):
        raise ConfigError(
            "Which run, and where to?",
            f"given: {' '.join(words) or 'nothing'}",
            f"stillage {verb} RUN FOLDER",
        )
    run, target = map(Path, words)
    stages = export(run, target)
    size = sum(path.stat().st_size for path in files_of(target))
    print(f"{len(stages)} stages, {size / 2**20:.1f} MiB: {', '.join(stages)}")
    print(f"run folder: {target}")
    return 0
