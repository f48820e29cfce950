"""Import of published indexed sets (`.bin`/`.idx`), looked through and checked."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillage.corpus.indexed_shard import IndexedShard, open_shard
from stillage.errors import DataError
from stillage.types import Array

CHUNK = 1 << 24  # tokens looked at at a time
log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedSet:
    """An open indexed set; sequences are numbered from 0, over all shards."""

    name: str
    shards: tuple[IndexedShard, ...]
    separator: int | None  # between prompt and response; None: sequences are whole blocks
    first_id: int  # taken off every value: 1 for fairseq's older layout (it stores id + 1), else 0
    largest_id: int
    first_N: Array  # int64[shards + 1]: number of each shard's first sequence, then their total

    @property
    def sequences(self) -> int:
        """How many sequences."""
        return int(self.first_N[-1])

    @property
    def tokens(self) -> int:
        """How many tokens, separators not counted."""
        total = sum(len(shard.tokens_T) for shard in self.shards)
        return total - (self.sequences if self.separator is not None else 0)

    def summary(self) -> str:
        """One line: what was found."""
        kind = f"{self.shards[0].tokens_T.dtype.name} ({self.shards[0].layout})"
        parted = f"prompt and response parted by {self.separator}"
        held = "blocks" if self.separator is None else parted
        return (
            f"{self.name}: {self.sequences} sequences, {self.tokens} tokens, "
            f"{len(self.shards)} shards of {kind}, {held}, largest id {self.largest_id}"
        )

    def sequence(self, number: int) -> Array:
        """The stored values of one sequence, int64, separator included."""
        if not 0 <= number < self.sequences:
            values = f"asked: {number}; {self.name} has {self.sequences}, from 0"
            raise DataError("There is no such sequence.", values, "Ask for a smaller number.")
        which = int(np.searchsorted(self.first_N, number, side="right")) - 1
        shard, inside = self.shards[which], number - int(self.first_N[which])
        start = int(shard.starts_N[inside])
        return shard.tokens_T[start : start + int(shard.sizes_N[inside])].astype(np.int64)

    def block(self, number: int) -> Array:
        """The ids of one sequence, int32, separator taken out."""
        values = self.sequence(number)
        kept = values if self.separator is None else values[values != self.separator]
        return (kept - self.first_id).astype(np.int32)

    def blocks(self) -> Iterator[Array]:
        """The ids of every sequence, in order, int32."""
        return (self.block(number) for number in range(self.sequences))

    def pair(self, number: int) -> tuple[Array, Array]:
        """(prompt ids, response ids) of a sequence, int32. DataError without separator."""
        if self.separator is None:
            fix = "Use its blocks; or the set made with prompt and response (the folder `full`)."
            what = "The indexed set has no separator between prompt and response."
            raise DataError(what, self.name, fix)
        values = self.sequence(number)
        at = int(np.flatnonzero(values == self.separator)[0])
        return values[:at].astype(np.int32), values[at + 1 :].astype(np.int32)


def open_indexed(
    folder: Path, split: str, *, vocab_size: int = 0, first_id: int | None = None
) -> IndexedSet:
    """Open `<split>_0`, `<split>_1`, ... (or `<split>` alone) of a folder.

    All of it is looked through once. The separator is the largest value of the integer type, or -1;
    it must stand exactly once in every sequence, or in none. vocab_size: that of the tokenizer the
    set was made with (0: unknown). first_id: what to take off every value (None: 1 for fairseq's
    older layout, unless a stored 0 shows that it does not count from 1; else 0). Raises DataError
    for what is missing, damaged or of different kinds, and for ids out of the vocabulary.
    """
    shards = tuple(open_shard(prefix) for prefix in shard_prefixes(folder, split))
    kinds = sorted({f"{shard.tokens_T.dtype.name} ({shard.layout})" for shard in shards})
    if len(kinds) > 1:
        values = f"{split}: {'; '.join(kinds)}"
        raise DataError("The shards are of different kinds.", values, "Make them all again.")
    first_N = np.cumsum([0, *(len(shard.sizes_N) for shard in shards)])
    if not sum(len(shard.tokens_T) for shard in shards):
        values = f"{folder}/{split}: {first_N[-1]} sequences, 0 tokens"
        raise DataError("The indexed set is empty.", values, "Check what wrote it.")
    separator = _separator(shards, folder / split)
    smallest, largest = _range(shards, separator)
    if first_id is None:
        is_fairseq = separator is None and shards[0].layout == "TNTIDX without documents"
        first_id = int(is_fairseq and smallest >= 1)
        if first_id:
            why = "fairseq's older layout stores id + 1; 1 is taken off every value"
            log.warning("%s: %s", folder / split, why)
    smallest, largest = smallest - first_id, largest - first_id
    _check_range(folder / split, smallest, largest, shards[0].tokens_T.dtype, vocab_size)
    opened = IndexedSet(
        name=split,
        shards=shards,
        separator=separator,
        first_id=first_id,
        largest_id=largest,
        first_N=first_N,
    )
    log.info("%s", opened.summary())
    return opened


def shard_prefixes(folder: Path, split: str) -> list[Path]:
    """The shards of a split in order, without suffix. DataError for none, or a gap."""
    pattern = re.compile(rf"{re.escape(split)}_(\d+)\.(?:bin|idx)")
    matches = [pattern.fullmatch(path.name) for path in folder.iterdir()] if folder.is_dir() else []
    numbers = sorted({int(match[1]) for match in matches if match})
    alone = folder / split
    if not numbers and any(alone.with_name(split + end).is_file() for end in (".bin", ".idx")):
        return [alone]
    if not numbers:
        values = f"looked for: {alone}_0.bin, {alone}_0.idx, {alone}.bin"
        fix = "Check the folder and the name of the split."
        raise DataError("There is no indexed set.", values, fix)
    absent = sorted(set(range(numbers[-1] + 1)) - set(numbers))
    if absent:
        there = f"found {split}_{{{','.join(map(str, numbers))}}}"
        values = f"{folder}: {there}; missing: {', '.join(map(str, absent))}"
        raise DataError("A shard of the indexed set is missing.", values, "Copy all of them.")
    return [folder / f"{split}_{number}" for number in numbers]


def _separator(shards: tuple[IndexedShard, ...], place: Path) -> int | None:
    """The value that stands exactly once in every sequence; None: it is in none."""
    counts: dict[int, Array] = {}
    kind = shards[0].tokens_T.dtype
    for value in (-1, np.iinfo(kind).max) if kind.kind == "i" else (np.iinfo(kind).max,):
        counts_N = np.concatenate([_occurrences(shard, value) for shard in shards])
        if counts_N.any():
            counts[value] = counts_N
    if not counts:
        return None
    redo = "Make the set again."
    if len(counts) > 1:
        holders = {value: int((counts_N > 0).sum()) for value, counts_N in counts.items()}
        values = "; ".join(f"{value} in {count} sequences" for value, count in holders.items())
        raise DataError("Two values could be the separator.", f"{place}: {values}", redo)
    ((value, counts_N),) = counts.items()
    wrong = np.flatnonzero(counts_N != 1)
    if len(wrong):
        first = f"{value} stands {counts_N[wrong[0]]} times in sequence {wrong[0]}"
        many = f"{len(wrong)} of {len(counts_N)} sequences do not hold it exactly once"
        what = "The separator does not part every sequence in two."
        raise DataError(what, f"{place}: {first}; {many}", redo)
    last = [shard.tokens_T[shard.starts_N + shard.sizes_N - 1] == value for shard in shards]
    empty = np.flatnonzero(np.concatenate(last))
    if len(empty):
        values = f"{place}: {len(empty)} sequences, the first is {empty[0]}"
        raise DataError("Sequences have no response after the separator.", values, redo)
    return value


def _occurrences(shard: IndexedShard, value: int) -> Array:
    """How often a value stands in each sequence, int64[N]."""
    counts_N = np.zeros(len(shard.sizes_N), dtype=np.int64)
    for start in range(0, len(shard.tokens_T), CHUNK):
        hits = np.flatnonzero(shard.tokens_T[start : start + CHUNK] == value) + start
        rows = np.searchsorted(shard.starts_N, hits, side="right") - 1
        counts_N += np.bincount(rows, minlength=len(counts_N))
    return counts_N


def _range(shards: tuple[IndexedShard, ...], separator: int | None) -> tuple[int, int]:
    """The smallest and the largest stored value, separators apart."""
    smallest, largest = np.iinfo(np.int64).max, -1
    for shard in shards:
        for start in range(0, len(shard.tokens_T), CHUNK):
            chunk = shard.tokens_T[start : start + CHUNK]
            kept = chunk if separator is None else chunk[chunk != separator]
            if len(kept):
                smallest, largest = min(smallest, int(kept.min())), max(largest, int(kept.max()))
    return smallest, largest


def _check_range(place: Path, smallest: int, largest: int, kind: np.dtype, vocab_size: int) -> None:
    """Refuse ids of the wrong integer width, or of another tokenizer."""
    if smallest < 0 or largest > np.iinfo(np.int32).max:
        values = f"{place}: ids from {smallest} to {largest} in {kind.name}"
        what = "The indexed set holds values that are no token ids."
        raise DataError(what, values, "Make the set again.")
    if vocab_size > int(np.iinfo(kind).max) + 1:
        values = f"{place}: {kind.name}; vocabulary: {vocab_size}"
        what = "The integers are too narrow for the vocabulary: ids have wrapped."
        raise DataError(what, values, "Make it again.")
    if vocab_size and largest >= vocab_size:
        values = f"{place}: largest id {largest}; vocabulary: {vocab_size}"
        what = "The indexed set was made with another tokenizer."
        raise DataError(what, values, "Give that tokenizer's model.")
