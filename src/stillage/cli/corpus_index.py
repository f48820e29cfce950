"""`stillage corpus index SHARDS`: the suffix array of every shard."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from stillage.cli.board import Board
from stillage.errors import ConfigError

NAMES = ("SHARDS",)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `index SHARDS` takes besides."""

    jobs: int = 1
    """How many shards to sort at a time; each takes about 20 bytes of memory per token."""


def run(paths: list[str], chosen: Settings) -> int:
    """Index the shards that have no index yet."""
    from stillage.corpus.shard_index import index_shards, is_indexed
    from stillage.corpus.shards import open_shards
    from stillage.run.stop import watch_signals

    if chosen.jobs < 1:
        raise ConfigError("Nothing would be sorted.", f"--jobs {chosen.jobs}", "Give 1 or more.")
    corpus = open_shards(Path(paths[0]))
    todo = [shard for shard in corpus.shards if not is_indexed(shard)]
    tokens, started = sum(len(shard.tokens_T) for shard in todo), time.monotonic()
    with watch_signals(), Board() as board:

        def beat(done: int) -> None:
            passed = time.monotonic() - started
            facts: dict[str, object] = {"done": done, "of": tokens}
            facts["doing"] = f"{{}} tokens indexed ({done / max(1, tokens):.0%})"
            if done:
                facts |= {"tokens_per_s": done / passed, "eta_s": passed * (tokens - done) / done}
            board.show("index", facts)

        beat(0)
        made = index_shards(corpus, jobs=chosen.jobs, beat=beat)
    print(f"{paths[0]}: {len(made)} shards indexed, {len(corpus.shards) - len(made)} were already")
    if tokens:
        passed = time.monotonic() - started
        print(f"{tokens:,} tokens in {passed:.1f} s, {tokens / passed:,.0f} tokens/s")
    return 0
