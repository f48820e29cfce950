"""`stillage compare RUN RUN ...` or `stillage compare GRID`: which finished run leaks more, and how good each is."""

from __future__ import annotations

import itertools
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError
from stillage.run.parse import typed

if TYPE_CHECKING:
    from stillage.experiment.compare import Candidate
    from stillage.types import Result

USAGE = (
    "usage: stillage compare RUN RUN ... [settings]     finished runs, or grids (folders of a config with `sweep:`)\n"
)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What `stillage compare` takes besides the folders."""

    model: str = "student"
    """Which model of each run."""
    attack: str = ""
    """Which attack's scores; empty: the primary one, which the first run's configuration names first."""
    level: float = 0.95
    """Level of the intervals."""
    out: Path | None = None
    """Write compare.parquet (every number) and compare.json (what was compared) there; empty: only print."""


def main(verb: str, words: list[str]) -> int:
    """Compare, print, and write if asked."""
    if "--help" in words or "-h" in words:
        print(USAGE)
        sys.stdout.flush()
        typed(Comparison, ["--help"], f"stillage {verb}")
    folders = list(itertools.takewhile(lambda word: not word.startswith("-"), words))
    asked = typed(Comparison, words[len(folders) :], f"stillage {verb}")
    if not folders:
        raise ConfigError("Which runs?", f"given: {' '.join(words) or 'nothing'}", "stillage compare RUN RUN, or GRID")
    if not 0 < asked.level < 1:
        raise ConfigError("The level must lie between 0 and 1.", f"level: {asked.level}", "Use a level such as 0.95.")
    return run(list(map(Path, folders)), asked)


def run(folders: Sequence[Path], asked: Comparison) -> int:
    """Read, compare, print."""
    from stillage.audit.compare import compare
    from stillage.experiment.compare import candidates, primary, quality_results, run_scores, variants
    from stillage.report.cells import text
    from stillage.report.compare import pairs_table, variants_table
    from stillage.types import Result

    found, unfinished = candidates(folders)
    named = variants(found)
    attack = asked.attack or primary(found)
    base = Result(run="", stage="compare", model=asked.model, metric="", value=math.nan, attack=attack)
    scores = {name: [run_scores(one, asked.model, attack) for one in runs] for name, runs in named.items()}
    results = compare(scores, level=asked.level, base=base)
    for name, runs in named.items():
        results += quality_results(name, runs, level=asked.level, base=base)
    seeds = {name: [one.seed for one in runs] for name, runs in named.items()}
    print(text(variants_table(results, seeds)))
    shown = pairs_table(results, asked.level)
    print(text(shown) + shown.note)
    doubtful = [f"{one.folder} ({one.verdict})" for runs in named.values() for one in runs if one.verdict != "valid"]
    if doubtful:
        print(f"did not pass the audit's checks, so that their numbers need not be leakage: {', '.join(doubtful)}")
    if unfinished:
        print(f"left out, their audit is not finished: {', '.join(map(str, unfinished))}")
    if asked.out is not None:
        write(asked.out, results, named, unfinished, base)
    return 0


def write(
    out: Path,
    results: Sequence[Result],
    named: Mapping[str, Sequence[Candidate]],
    unfinished: Sequence[Path],
    base: Result,
) -> None:
    """compare.parquet and compare.json."""
    from stillage.run.folder import sha256_file, write_json
    from stillage.run.results import write_results

    write_results(out / "compare.parquet", results)
    runs = [
        {"variant": name, "run": str(one.folder), "seed": one.seed,
         "scores_sha256": sha256_file(one.folder / "audit" / "scores.parquet")}
        for name, group in named.items() for one in group
    ]  # fmt: skip
    left_out = list(map(str, unfinished))
    write_json(out / "compare.json", {"model": base.model, "attack": base.attack, "runs": runs, "unfinished": left_out})
    print(f"every number: {out / 'compare.parquet'}")
