"""`stillage corpus index SHARDS`: the suffix array of every shard."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.board import Board
from stillage.errors import ConfigError

if TYPE_CHECKING:
    from stillage.corpus.shards import Shard

NAMES = ("SHARDS",)
SMALL = 5_000_000  # tokens that need no time left
PIECE = 200_000  # tokens whose speed is a first guess
SLOWER = 0.4  # a large shard beside a small piece: caches, and n log n
MOST = 0.95  # of a shard in work that a guess may call done


@dataclass(frozen=True, kw_only=True)
class IndexFlags:
    """What `index SHARDS` takes besides."""

    jobs: int = 1
    """How many shards to sort at a time; each takes about 20 bytes of memory per token."""


SETTINGS = IndexFlags


def main(paths: list[str], chosen: IndexFlags) -> int:
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
        made = index_shards(corpus, jobs=chosen.jobs, beat=beating(board, todo, chosen.jobs))
    shards = f"{len(made)} shard{'s' * (len(made) != 1)}"
    print(f"{paths[0]}: {shards} indexed, {len(corpus.shards) - len(made)} were already")
    if made:
        passed = time.monotonic() - started
        print(f"{tokens:,} tokens in {passed:.1f} s, {tokens / passed:,.0f} tokens/s")
    return 0


def beating(board: Board, todo: list[Shard], jobs: int) -> Callable[[int], None]:
    """Show how far the shards are, given the tokens of those that are done.

    A sort does not say how far it is: what is done of the shards in work is guessed from the speed
    so far, at first that of a small piece.
    """
    tokens = sum(len(shard.tokens_T) for shard in todo)
    guess = SLOWER * small_speed(todo[0]) * jobs if tokens > SMALL else 0.0
    longest = max((len(shard.tokens_T) for shard in todo), default=0)
    started = changed = time.monotonic()
    before = 0

    def beat(done: int) -> None:
        nonlocal changed, before
        now = time.monotonic()
        if done != before:
            before, changed = done, now
        speed = done / (changed - started) if done else guess
        in_work = min(tokens - done, jobs * longest)
        about = done + int(min(speed * (now - changed), MOST * in_work))
        facts: dict[str, object] = {"done": about, "of": tokens}
        facts["doing"] = f"about {{}} tokens indexed ({about / max(1, tokens):.0%})"
        if speed:
            facts |= {"tokens_per_s": speed, "eta_s": (tokens - about) / speed}
        board.show("index", facts)

    return beat


def small_speed(shard: Shard) -> float:
    """Tokens a second of a small piece of a shard, as one document."""
    import numpy as np

    from stillage.corpus.suffix_array import suffix_array

    seconds = 1.0
    for size in (1000, PIECE):  # the first compiles
        tokens_T, started = np.array(shard.tokens_T[:size]), time.monotonic()
        suffix_array(tokens_T, np.array([0, len(tokens_T)]))
        seconds = time.monotonic() - started
    return PIECE / seconds
