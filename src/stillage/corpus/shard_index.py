"""The index of a shard as a file beside it, `shard-00000.index.safetensors`.

`suffixes` and `lcp` are what `suffix_array` says; the metadata hold the sha256 of the file of
tokens, so that an index is used with its own shard alone.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from errno import EACCES, EPERM, EROFS
from pathlib import Path
from typing import TypeAlias

import numpy as np

from stillage.corpus.shards import Shard, ShardSet, check_shard
from stillage.corpus.suffix_array import suffix_array
from stillage.corpus.token_file import map_tensor, read_header, tensor_header
from stillage.errors import DataError
from stillage.run.folder import atomic, remove
from stillage.run.lock import locked
from stillage.types import Array

FORMAT = "stillage index 1"
Results: TypeAlias = "queue.SimpleQueue[tuple[Shard, tuple[Array, Array] | Exception]]"
BEAT_S = 0.5  # between two looks at the clock while a shard is sorted


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardIndex:
    """The open index of a shard, memory-mapped."""

    suffixes_T: Array  # uint32 or uint64: where each suffix begins, in tokens of the shard
    lcp_T: Array  # uint32: how many tokens it shares with the suffix before


def index_path(shard: Shard) -> Path:
    """Where the index of a shard lies."""
    return shard.path.with_name(f"{shard.name}.index.safetensors")


def open_index(shard: Shard) -> ShardIndex:
    """Open the index of a shard. DataError where there is none, or another shard's."""
    path = index_path(shard)
    fix = f"Run `stillage corpus index {shard.path.parent}`."
    if not path.is_file():
        raise DataError("The shards are not indexed.", f"looked for: {path}", fix)
    try:
        tensors, about = read_header(path, "The index")
    except DataError as error:
        raise DataError(error.what, error.values, fix) from error
    if about.get("format") != FORMAT or set(tensors) != {"suffixes", "lcp"}:
        values = f"{path}: format {about.get('format')}; known: {FORMAT}"
        raise DataError("The index is of another format.", values, fix)
    tokens = len(shard.tokens_T)
    if about.get("sha256") != shard.sha256 or {one.shape for one in tensors.values()} != {
        (tokens,)
    }:
        values = (
            f"{path} is of a shard with sha256 {about.get('sha256', 'unknown')[:12]} "
            f"({tensors['suffixes'].shape[0]} tokens); "
            f"{shard.path.name}: {shard.sha256[:12]} ({tokens})"
        )
        raise DataError("The index and the shard do not belong together.", values, fix)
    return ShardIndex(
        suffixes_T=map_tensor(path, tensors["suffixes"]), lcp_T=map_tensor(path, tensors["lcp"])
    )


def is_indexed(shard: Shard) -> bool:
    """Whether a shard has an index that belongs to it."""
    try:
        open_index(shard)
    except DataError:
        return False
    return True


def index_shards(
    corpus: ShardSet, *, jobs: int = 1, beat: Callable[[int], object] | None = None
) -> list[Shard]:
    """Index the shards that are not yet, one file after the other; which were.

    jobs: how many at a time. beat: is told the tokens indexed so far, twice a second. A signal ends
    it at once, without the shards in work. DataError where a shard is not as its manifest says.
    """
    with ExitStack() as held:
        if not all(map(is_indexed, corpus.shards)):
            held.enter_context(sole_writer(corpus.folder))
        todo = [shard for shard in corpus.shards if not is_indexed(shard)]
        results: Results = queue.SimpleQueue()
        threads = [
            # a thread of the sort's own, which a signal need not wait for
            threading.Thread(target=_answer, args=(shard, results), daemon=True)
            for shard in todo
        ]
        for thread in threads[:jobs]:
            thread.start()
        done = 0
        for number in range(len(todo)):
            shard, result = _next(results, beat, done)
            if isinstance(result, Exception):
                raise result
            write_shard_index(shard, *result)
            del result  # the next thread begins with free memory
            done += len(shard.tokens_T)
            if number + jobs < len(threads):
                threads[number + jobs].start()
        return todo


@contextmanager
def sole_writer(folder: Path) -> Iterator[None]:
    """Wait for others that index these shards; clear away what a killed one left.

    DataError where the folder cannot be written.
    """
    try:
        with locked(folder, wait=True):
            for leftover in folder.glob(".tmp-*.index.safetensors-*"):
                remove(leftover)
            yield
            remove(folder / ".lock")
    except OSError as error:
        if error.errno not in (EACCES, EPERM, EROFS):
            raise
        values, fix = f"{error.filename or folder}: {error.strerror}", "Check its permissions."
        raise DataError("The folder of the shards cannot be written.", values, fix) from error


def build_index(shard: Shard) -> tuple[Array, Array]:
    """Check a shard's file against its hash, and sort it: (suffixes_T, lcp_T)."""
    check_shard(shard)
    return suffix_array(np.asarray(shard.tokens_T), shard.offsets_D)


def write_shard_index(shard: Shard, suffixes_T: Array, lcp_T: Array) -> None:
    """Write the index of a shard, atomically."""
    arrays = {"suffixes": suffixes_T, "lcp": lcp_T}
    shapes = {name: (array.dtype, array.shape) for name, array in arrays.items()}
    about = {"format": FORMAT, "sha256": shard.sha256}
    with atomic(index_path(shard)) as temporary, temporary.open("wb") as handle:
        handle.write(tensor_header(shapes, about))
        for array in arrays.values():
            handle.write(np.ascontiguousarray(array).data)


def _answer(shard: Shard, results: Results) -> None:
    """Index a shard and hand the result, or the error, over."""
    try:
        results.put((shard, build_index(shard)))
    except Exception as error:  # noqa: BLE001 - raised again by the one who waits
        results.put((shard, error))


def _next(
    results: Results, beat: Callable[[int], object] | None, done: int
) -> tuple[Shard, tuple[Array, Array] | Exception]:
    """Wait for a result, and tell beat meanwhile what is done."""
    while True:
        try:
            return results.get(timeout=BEAT_S)
        except queue.Empty:
            if beat is not None:
                beat(done)
