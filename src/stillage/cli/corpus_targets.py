"""`stillage corpus targets SHARDS --out F`: sequences by how often they occur."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.board import Board
from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from stillage.corpus.sample_targets import Sampled

NAMES = ("SHARDS",)


@dataclass(frozen=True, kw_only=True)
class TargetsFlags:
    """What `targets SHARDS` takes besides."""

    out: str = ""
    """The file to write: a name that ends in .parquet."""
    counts: tuple[int, ...] = (5, 50, 500)
    """How often the sequences occur in all shards together."""
    length: int = 100
    """Tokens of each sequence."""
    tolerance: float = 0.01
    """How far a count may be off, as a share: 0.01 takes 99 to 101 for 100."""
    per_count: int = 100
    """How many sequences to draw for each count."""
    unique: int = 50
    """How many different tokens a sequence must hold; random windows need not."""
    random: int = 100
    """How many windows to draw uniformly, however often they occur: the controls."""
    seed: int = 0
    """Decides the draw."""


SETTINGS = TargetsFlags


def main(paths: list[str], chosen: TargetsFlags) -> int:
    """Draw targets, write them, and say how many there were."""
    from stillage.corpus.sample_targets import TargetRules, bucket_spans, sample_targets
    from stillage.corpus.shards import check_content, open_shards
    from stillage.corpus.targets import write_targets
    from stillage.run.stop import watch_signals

    out = Path(chosen.out)
    if out.suffix != ".parquet":
        values = f"--out {chosen.out}" if chosen.out else "--out was not given"
        raise ConfigError(
            "Targets are written as a table.", values, "Give a name ending in .parquet."
        )
    names = ("counts", "length", "tolerance", "per_count", "unique", "random", "seed")
    rules = TargetRules(**{name: getattr(chosen, name) for name in names})
    spans = bucket_spans(rules)
    corpus = open_shards(Path(paths[0]))
    with watch_signals(), Board() as board:
        check_content(corpus, board.show)
        started = time.monotonic()

        def tell(read: int, of: int) -> None:
            passed = time.monotonic() - started
            facts = {"doing": f"{{}} tokens read ({read / of:.0%})", "done": read, "of": of}
            speed = {"tokens_per_s": read / passed, "eta_s": passed * (of - read) / max(1, read)}
            board.show("targets", facts | speed)

        tell(0, max(1, corpus.tokens))
        sampled = sample_targets(corpus, rules, tell)
    for bucket, (low, high) in spans.items():
        print(bucket_line(sampled, rules.per_count, bucket, (low, high)))
    controls = sampled.table.num_rows - sampled.table["bucket"].drop_null().length()
    few = f" (only; {rules.random} were asked for)" if controls < rules.random else ""
    print(f"random: {controls} of {sampled.windows:,} windows{few}")
    if not sampled.table.num_rows:
        fix = "Give other --counts, a larger --tolerance, or a smaller --unique or --length."
        raise DataError("No sequence is as asked for; nothing was written.", str(paths[0]), fix)
    write_targets(out, sampled.table)
    print(f"written: {out}, {sampled.table.num_rows} targets of {rules.length} tokens")
    return 0


def bucket_line(sampled: Sampled, asked: int, bucket: int, span: tuple[int, int]) -> str:
    """Say how many sequences of a bucket were drawn, of how many."""
    there = sampled.available[bucket]
    drawn = min(asked, there)
    few = f" (only; {asked} were asked for)" if there < asked else ""
    times = f"{span[0]:,}" if span[0] == span[1] else f"{span[0]:,} to {span[1]:,}"
    return f"count {bucket:,} ({times}): {drawn} of {there:,} sequences{few}"
