"""Near-duplicates in SlimPajama, as the published study counted them; every command, in order.

python recipes/slimpajama/run.py SOURCE --tokenizer tokenizer.json --work DIR [--sample 0.05]
python recipes/slimpajama/run.py --dry-run         # prints the commands, needs no data
python recipes/slimpajama/run.py --tiny --work DIR  # the same on 20 small parts that it makes

A step whose output is there is not done again; one that was stopped continues.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class Study:
    """What the study looked for."""

    parts: int = 20
    length: int = 100  # tokens of a target
    part_counts: tuple[int, ...] = (5, 50, 500)  # of candidates, in the first part
    part_tolerance: float = 0.1
    totals: tuple[int, ...] = (100, 1_000, 10_000)  # of targets, in all parts: the buckets
    tolerance: float = 0.01
    unique: int = 50  # different tokens of a target, at least
    queries: int = 10_000  # candidates of a bucket
    targets: int = 100  # of a bucket, and random ones
    max_distance: int = 50
    shard_tokens: int = 100_000_000
    rules: tuple[str, ...] = ()  # of deduplication; ngram rules want an index of everything


PUBLISHED = Study()
TINY = Study(
    part_counts=(2, 4, 8),
    totals=(40, 80, 160),
    queries=200,
    targets=20,
    shard_tokens=75_000,
    rules=("exact", "ngram:50"),
)
"""The same layout with a hundredth of the copies; `tiny.py` makes the corpus."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command, and the file that is there once it is done; None: it finds out itself."""

    words: list[str]
    made: Path | None

    @property
    def shown(self) -> str:
        """The command as one would type it."""
        return shlex.join(self.words)

    def call(self) -> None:
        """Do it with this Python; its exit code is ours."""
        program, rest = self.words[0], self.words[1:]
        before = ["-m", "stillage"] if program == "stillage" else []
        if program == "python":  # from whatever folder this was called in
            rest = [str(HERE / Path(rest[0]).name), *rest[1:]]
        done = subprocess.run([sys.executable, *before, *rest], check=False)
        if done.returncode:
            sys.exit(done.returncode)


def steps(study: Study, source: str, tokenizer: str, work: Path, sample: float) -> Iterator[Step]:
    """Yield every command of the study."""
    shards, first, queries = work / "shards", work / "part-1", work / "queries.parquet"
    counted, targets, scan = work / "counts", work / "targets.parquet", work / "scan"

    def corpus(made: Path | None, *words: object) -> Step:
        return Step(words=["stillage", "corpus", *map(str, words)], made=made)

    def script(made: Path, name: str, *words: object) -> Step:
        path = (HERE / name).relative_to(HERE.parents[1])
        return Step(words=["python", str(path), *map(str, words)], made=made)

    size = ("--shard-tokens", study.shard_tokens)
    manifest = shards / "manifest.json"
    yield corpus(manifest, "tokenize", source, shards, "--tokenizer", tokenizer, *size)
    yield script(first / "manifest.json", "part.py", shards, first, "--share", 1 / study.parts)
    yield corpus(None, "index", first)
    drawn = ("--tolerance", study.part_tolerance, "--per-count", study.queries)
    rules = ("--length", study.length, "--unique", study.unique, "--random", study.targets)
    counts = ("--counts", *study.part_counts)
    yield corpus(queries, "targets", first, *counts, *drawn, *rules, "--out", queries)
    exact = ("--max-distance", 0, "--keep-overlaps")
    made = counted / "manifest.json"
    yield corpus(made, "scan", shards, "--targets", queries, *exact, "--out", counted)
    chosen = ("--tolerance", study.tolerance, "--each", study.targets)
    totals = ("--totals", *study.totals)
    yield script(targets, "choose.py", counted, *totals, *chosen, "--out", targets)
    near = ("--max-distance", study.max_distance, "--metric", "both", "--sample", sample)
    # it continues by itself, and refuses another --sample than before
    yield corpus(None, "scan", shards, "--targets", targets, *near, "--out", scan)
    if study.rules:
        yield corpus(None, "index", shards)
        made = scan / "policy" / "policy.json"
        yield corpus(made, "policy", scan, "--rule", *study.rules)
    yield corpus(None, "report", scan)


def main() -> None:
    """Print the commands, or do them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="SlimPajama-627B/train")
    parser.add_argument("--tokenizer", default="gpt2/tokenizer.json")
    parser.add_argument("--work", type=Path, default=Path("work"))
    parser.add_argument("--sample", type=float, default=0.05, help="share of documents; 1: all")
    parser.add_argument("--rule", nargs="*", default=[], help="e.g. ngram:50; indexes everything")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    given = parser.parse_args()
    study = TINY if given.tiny else Study(rules=tuple(given.rule))
    if given.tiny:
        given.source, given.tokenizer = (
            str(given.work / "train"),
            str(given.work / "tokenizer.json"),
        )
        made, words = (
            given.work / "train",
            ["python", "recipes/slimpajama/tiny.py", str(given.work)],
        )
        first = [Step(words=words, made=made)]
    else:
        first = []
    for step in (*first, *steps(study, given.source, given.tokenizer, given.work, given.sample)):
        if given.dry_run:
            print(step.shown)
        elif step.made is not None and step.made.exists():
            print(f"there already: {step.made}", flush=True)
        else:
            print(f"$ {step.shown}", flush=True)
            started = time.monotonic()
            step.call()
            print(f"  {time.monotonic() - started:.1f} s\n", flush=True)


if __name__ == "__main__":
    main()
