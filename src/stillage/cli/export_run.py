"""`stillage export RUN FOLDER`: copy a run, with all that it needs."""

from __future__ import annotations

from pathlib import Path

from stillage.cli.paths import NoSettings, read_paths

USAGE = """usage: stillage export RUN FOLDER

Copies a finished run, or one point of a sweep with its share of the store, into a new folder:
real files instead of links, every file checked against its manifest. `report`, `audit`, `compare`
and `run` work on the copy."""
SETTINGS = NoSettings


def main(verb: str, words: list[str]) -> int:
    """Copy, and say what was copied."""
    paths, _ = read_paths(f"stillage {verb}", words, ("RUN", "FOLDER"), SETTINGS)
    from stillage.experiment.export import export
    from stillage.run.folder import list_files

    run, target = map(Path, paths)
    stages = export(run, target)
    size = sum(path.stat().st_size for path in list_files(target))
    print(f"{len(stages)} stages, {size / 2**20:.1f} MiB: {', '.join(stages)}")
    print(f"run folder: {target}")
    return 0
