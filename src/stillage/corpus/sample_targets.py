"""Targets drawn by how often they occur, and random windows as controls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.counts import count_sequences, find_sequence
from stillage.corpus.shards import ShardSet
from stillage.corpus.targets import COLUMNS, RANDOM, REPEATED, target_table
from stillage.corpus.window_counts import (
    Windows,
    counted_windows,
    distinct_tokens,
    taken,
    window_tokens,
)
from stillage.errors import ConfigError, DataError
from stillage.rng import derive, generator
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetRules:
    """Which sequences become targets; checked by `sample_targets`."""

    counts: tuple[int, ...]  # the buckets
    length: int  # of every target, in tokens
    tolerance: float = 0.01  # of a bucket: a count of 99 to 101 for 100
    per_count: int = 100
    unique: int = 50  # different tokens of a repeated target, at least
    random: int = 100  # windows drawn whatever they are
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampled:
    """Targets, and out of how many they were drawn."""

    table: pa.Table  # of `targets.COLUMNS`
    available: Mapping[int, int]  # bucket -> distinct sequences that qualify
    windows: int  # of that length in all documents


def sample_targets(
    corpus: ShardSet,
    rules: TargetRules,
    tell: Callable[[int, int], object] = lambda tokens, of: None,
) -> Sampled:
    """Draw targets uniformly among the distinct sequences of each bucket.

    A bucket holds the sequences of `length` tokens whose count over all shards is within the
    tolerance, with `unique` different tokens or more. Which are drawn depends on the seed and the
    documents, not on the shards; fewer are drawn where fewer exist. tell: is told how
    many tokens are read, of how many.
    ConfigError for rules without meaning, DataError where every document is shorter than a target.
    """
    spans = bucket_spans(rules)
    windows_D = np.concatenate(
        [np.maximum(np.diff(shard.offsets_D) - rules.length + 1, 0) for shard in corpus.shards]
    )
    windows = int(windows_D.sum())
    if not windows:
        longest = max(
            (int(np.diff(one.offsets_D).max(initial=0)) for one in corpus.shards), default=0
        )
        values = f"--length {rules.length}; the longest of {corpus.documents} documents: {longest}"
        raise DataError("No document is as long as a target.", values, "Give a smaller length.")
    rows: dict[str, list[Any]] = {name: [] for name in COLUMNS}
    available = {}
    if spans:
        whole = min(low for low, _ in spans.values()), max(high for _, high in spans.values())
        found = counted_windows(corpus, rules.length, whole, tell=tell)
        for bucket, (low, high) in spans.items():
            inside = np.flatnonzero((found.count_C >= low) & (found.count_C <= high))
            some = taken(found, inside)
            unique_C = distinct_tokens(corpus.shards, some, rules.length)
            some = taken(some, np.flatnonzero(unique_C >= rules.unique))
            available[bucket] = len(some.place_C)
            add_repeated(rows, corpus, drawn_windows(corpus, some, rules), bucket, rules.seed)
    add_random(rows, corpus, windows_D, rules)
    rows["target"] = list(range(len(rows["tokens"])))
    about = {
        "rules": asdict(rules),
        "available": {str(bucket): count for bucket, count in available.items()},
        "shards": {shard.name: shard.sha256 for shard in corpus.shards},
        "tokenizer": corpus.tokenizer,
        "vocab_size": corpus.vocab_size,
    }
    return Sampled(table=target_table(rows, about), available=available, windows=windows)


def bucket_spans(rules: TargetRules) -> dict[int, tuple[int, int]]:
    """Bucket -> its smallest and largest count. ConfigError for rules without sense."""
    least = {"length": 1, "tolerance": 0, "per_count": 0, "unique": 0, "random": 0}
    for name, smallest in least.items():
        if not getattr(rules, name) >= smallest:
            values = f"{name}: {getattr(rules, name)}"
            raise ConfigError(
                "A rule for targets is too small.", values, f"Give {smallest} or more."
            )
    if rules.tolerance >= 1 or rules.unique > rules.length:
        values = f"tolerance: {rules.tolerance}; unique: {rules.unique}; length: {rules.length}"
        fix = "Give a tolerance below 1, and no more different tokens than the length has."
        raise ConfigError("No sequence can be as the rules say.", values, fix)
    share = Fraction(str(rules.tolerance))  # 0.01 as it is written, not the nearest binary number
    spans: dict[int, tuple[int, int]] = {}
    before = 0
    for bucket in sorted(rules.counts):
        low, high = ceil(bucket * (1 - share)), floor(bucket * (1 + share))
        if low <= before:
            values = f"counts: {sorted(rules.counts)}; tolerance: {rules.tolerance}"
            fix = "Give each count once, from 1, further apart than the tolerance."
            raise ConfigError("Counts of targets overlap.", values, fix)
        spans[bucket] = low, high
        before = high
    return spans


def drawn_windows(corpus: ShardSet, windows: Windows, rules: TargetRules) -> Array:
    """Draw per_count windows: their tokens, uint32 [n, length], in order of the draw.

    Each has a number that only its tokens and the seed decide; the smallest are drawn.
    """
    from stillage.corpus.window_kernels import mix_all

    key = np.uint64(derive(rules.seed, "targets"))
    number_C = mix_all(windows.hash_C ^ key)
    if len(number_C) > rules.per_count:
        last = np.partition(number_C, rules.per_count)[rules.per_count]
        kept = np.flatnonzero(number_C <= last)
        windows, number_C = taken(windows, kept), number_C[kept]
    tokens_Cm = window_tokens(corpus.shards, windows, rules.length)
    order = sorted(range(len(number_C)), key=lambda at: (number_C[at], tokens_Cm[at].tolist()))
    return tokens_Cm[order[: rules.per_count]]


def add_repeated(
    rows: dict[str, list[Any]], corpus: ShardSet, tokens_Cm: Array, bucket: int, seed: int
) -> None:
    """Add drawn sequences, each with one of its occurrences."""
    for number, ids in enumerate(tokens_Cm):
        places = find_sequence(corpus, ids)
        chance = generator(seed, "occurrence", bucket, number)
        place = places.slice(int(chance.integers(places.num_rows)), 1).to_pylist()[0]
        add_row(rows, ids, (REPEATED, bucket), places.num_rows, place)


def add_random(
    rows: dict[str, list[Any]], corpus: ShardSet, windows_D: Array, rules: TargetRules
) -> None:
    """Add windows drawn uniformly among all of the corpus, none twice."""
    ends_D = np.cumsum(windows_D)
    chance = generator(rules.seed, "random windows")
    windows = int(ends_D[-1])
    chosen = chance.choice(windows, size=min(rules.random, windows), replace=False)
    documents = np.searchsorted(ends_D, chosen, side="right")
    starts = chosen - (ends_D - windows_D)[documents]
    first_S = np.array([shard.first_document for shard in corpus.shards])
    tokens = []
    for document, start in zip(documents.tolist(), starts.tolist(), strict=True):
        shard = corpus.shards[int(np.searchsorted(first_S, document, side="right")) - 1]
        at = int(shard.offsets_D[document - shard.first_document]) + start
        tokens.append(np.array(shard.tokens_T[at : at + rules.length], dtype=np.uint32))
    counts = count_sequences(corpus, tokens).tolist()
    for number, ids in enumerate(tokens):
        place = {"document": int(documents[number]), "start": int(starts[number])}
        add_row(rows, ids, (RANDOM, None), counts[number], place)


def add_row(
    rows: dict[str, list[Any]],
    ids: Array,
    kind: tuple[str, int | None],
    count: int,
    place: Mapping[str, int],
) -> None:
    """Add one target. kind: its role and bucket."""
    rows["tokens"].append(ids.tolist())
    rows["role"].append(kind[0])
    rows["bucket"].append(kind[1])
    rows["count"].append(count)
    rows["unique"].append(len(np.unique(ids)))
    rows["document"].append(place["document"])
    rows["start"].append(place["start"])
