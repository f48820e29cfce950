"""`stillage compare RUN RUN ...` or `compare GRID`: finished runs side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.paths import split_at_flags
from stillage.errors import ConfigError
from stillage.run.parse import typed

if TYPE_CHECKING:
    from stillage.report.side_by_side import SideBySide

USAGE = """usage: stillage compare RUN RUN ... [settings]
finished runs, or grids (folders of a config with `sweep:`)"""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `stillage compare` takes besides the folders."""

    model: str = ""
    """Which model of each run; empty: the student, or the teacher where no run has a student."""
    attack: str = ""
    """Which attack's scores; empty: the one that the first run's configuration names first."""
    level: float = 0.95
    """Level of the intervals."""
    out: Path | None = None
    """Folder for compare.parquet and compare.json; empty: only print. Every number is in the first,
    what was compared in the second."""


SETTINGS = Comparison


def main(verb: str, words: list[str]) -> int:
    """Compare, print, and write if asked."""
    folders, flags = split_at_flags(words)
    asked = typed(Comparison, flags, f"stillage {verb}")
    if not folders:
        values, fix = f"given: {' '.join(words) or 'nothing'}", "stillage compare RUN RUN, or GRID"
        raise ConfigError("Which runs?", values, fix)
    if not 0 < asked.level < 1:
        values, fix = f"level: {asked.level}", "Use a level such as 0.95."
        raise ConfigError("The level must lie between 0 and 1.", values, fix)
    return compare_runs(list(map(Path, folders)), asked)


def compare_runs(folders: Sequence[Path], asked: Comparison) -> int:
    """Read, compare, print."""
    from stillage.report.cells import text
    from stillage.report.comparison_tables import pairs_table, quality_tables, variants_table
    from stillage.report.side_by_side import side_by_side

    compared = side_by_side(folders, model=asked.model, attack=asked.attack, level=asked.level)
    print(text(variants_table(compared.results, compared.seeds, compared.doubtful)))
    leakage = [pairs_table(compared.results, asked.level)] if compared.attack else []
    for shown in (*leakage, *quality_tables(compared.results, asked.level)):
        if shown.rows:
            print(f"{shown.caption}\n{text(shown)}{shown.note}\n")
    for line in compared.said:
        print(line)
    if asked.out is not None:
        write_comparison(asked.out, compared)
    return 0


def write_comparison(out: Path, compared: SideBySide) -> None:
    """Write compare.parquet and compare.json."""
    from stillage.run.folder import write_json
    from stillage.run.results import write_results

    write_results(out / "compare.parquet", compared.results)
    runs = [
        {"variant": name, "run": str(one.folder), "seed": one.seed, **table_hashes(one.folder)}
        for name, group in compared.variants.items()
        for one in group
    ]
    about = {
        "model": compared.model,
        "attack": compared.attack,
        "runs": runs,
        "said": compared.said,
    }
    about["unfinished"] = list(map(str, compared.unfinished))
    write_json(out / "compare.json", about)
    print(f"every number: {out / 'compare.parquet'}")


def table_hashes(run: Path) -> dict[str, str]:
    """Hash the tables of a run that were compared, under its key.

    A plain hash would confirm a guess at a record.
    """
    from stillage.report.private import Disclosure, run_key
    from stillage.run.folder import sha256_file

    tables = [run / "audit" / "scores.parquet", run / "evaluate" / "samples.parquet"]
    sight = Disclosure(key=run_key(run))
    return {
        f"{path.stem}_keyed_sha256": sight.digest(sha256_file(path))
        for path in tables
        if path.is_file()
    }
