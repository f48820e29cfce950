"""Blocks of equal length cut from a token stream, in one safetensors file.

Tensors: `blocks` [N, block_tokens] (uint16 where the vocabulary fits, else int32) and
`document_starts` [D] (int64: where each document begins, in tokens from the first block's start).
The header's metadata says what made them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import atomic
from stillage.types import Array, Example

HEADER = 4096  # bytes kept free for the header while the blocks stream: more than it can need
FORMAT = "stillage blocks 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """An open file of blocks; block n is blocks_NT[n]."""

    path: Path
    blocks_NT: Array  # uint16 or int32, memory-mapped
    document_starts_D: Array  # int64
    documents: int  # as read, those in the dropped tail included
    dropped_tokens: int  # the last, partial block
    vocab_size: int
    tokenizer: str  # sha256 of its definition; "" where the blocks came without one

    @property
    def block_tokens(self) -> int:
        """Tokens per block."""
        return int(self.blocks_NT.shape[1])

    def summary(self) -> str:
        """One line: what the file holds."""
        count, length = self.blocks_NT.shape
        kind = self.blocks_NT.dtype.name
        return (
            f"{count} blocks of {length} tokens ({kind}) from {self.documents} documents; "
            f"{self.dropped_tokens} tokens of the last, partial block left out"
        )


def write_blocks(
    path: Path,
    documents: Iterable[Array],
    *,
    block_tokens: int,
    vocab_size: int,
    tokenizer: str = "",
) -> Blocks:
    """Concatenate documents (ids, EOS included), cut, write, and open the file.

    The last, partial block is dropped and counted. Memory: one document and eight bytes for each.
    ConfigError for fewer than 2 tokens a block, DataError for unknown ids or less than one block.
    """
    if block_tokens < 2:
        values = f"block_tokens: {block_tokens}"
        raise ConfigError("A block is too short to train on.", values, "Give 2 or more.")
    kind = np.dtype("<u2" if vocab_size <= 1 << 16 else "<i4")
    starts, total, count = array("q"), 0, 0
    with atomic(path) as temporary, temporary.open("wb") as handle:
        handle.write(b" " * (8 + HEADER))
        for ids in documents:
            _check_ids(ids, vocab_size, count)
            handle.write(np.ascontiguousarray(ids, dtype=kind).tobytes())
            starts.append(total)
            total, count = total + len(ids), count + 1
        blocks, dropped = divmod(total, block_tokens)
        if not blocks:
            raise too_short(total, count, block_tokens)
        about = {"documents": count, "dropped_tokens": dropped}
        about |= {"vocab_size": vocab_size, "tokenizer": tokenizer}
        starts_D = np.array(starts, dtype="<i8")
        starts_D = starts_D[starts_D < blocks * block_tokens]
        _finish(handle, (blocks, block_tokens), kind, starts_D, about)
    return open_blocks(path)


def too_short(tokens: int, documents: int, block_tokens: int) -> DataError:
    """The error for a corpus that fills no block."""
    values = f"{tokens} tokens in {documents} documents; block_tokens: {block_tokens}"
    fix = "Give more text, or lower block_tokens."
    return DataError("The corpus is shorter than one block.", values, fix)


def open_blocks(path: Path, *, tokenizer: str = "") -> Blocks:
    """Open a file of blocks; DataError where it is missing, damaged or none.

    tokenizer: refuse blocks of another one (its `rules_hash`; "": do not check).
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        fix = "Make it: stillage data plain-text pack."
        raise DataError("There is no file of blocks.", f"looked for: {path}", fix)
    try:
        with safe_open(path, framework="numpy") as file:  # checks the header and the length
            about = file.metadata() or {}
            is_ours = about.get("format") == FORMAT
            starts_D = file.get_tensor("document_starts") if is_ours else np.empty(0)
    except (SafetensorError, OSError) as error:
        values, fix = f"{path}: {error}", "Pack the corpus again."
        raise DataError("The file of blocks is damaged.", values, fix) from error
    if not is_ours:
        values = f"{path}: format {about.get('format')}"
        raise DataError("The file does not hold blocks.", values, "Pack a corpus.")
    if tokenizer and about["tokenizer"] and about["tokenizer"] != tokenizer:
        values = f"{path}: {about['tokenizer'][:12]}; the model's: {tokenizer[:12]}"
        fix = "Pack the corpus with this one."
        raise DataError("The blocks were made with another tokenizer.", values, fix)
    with path.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        entry = json.loads(handle.read(length))["blocks"]
    kind = {"U16": "<u2", "I32": "<i4"}[entry["dtype"]]
    first, count = 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
    return Blocks(
        path=path,
        blocks_NT=np.memmap(path, dtype=kind, mode="r", offset=first, shape=count),
        document_starts_D=starts_D,
        documents=int(about["documents"]),
        dropped_tokens=int(about["dropped_tokens"]),
        vocab_size=int(about["vocab_size"]),
        tokenizer=about["tokenizer"],
    )


def block_example(blocks: Blocks, number: int) -> Example:
    """A block as an example: all is trained but the first, which nothing predicts."""
    ids_T = blocks.blocks_NT[number].astype(np.int32)
    return Example(record_id=f"block-{number}", ids_T=ids_T, response_T=np.arange(len(ids_T)) > 0)


def block_numbers(step: int, batch_size: int, count: int, seed: int) -> Array:
    """The numbers of one step's blocks, int64[batch_size].

    Every block comes once per epoch, in an order of (seed, epoch) alone: no state is resumed.
    """
    places = range(step * batch_size, (step + 1) * batch_size)
    chosen = [_order(count, seed, place // count)[place % count] for place in places]
    return np.array(chosen, dtype=np.int64)


@lru_cache(maxsize=2)
def _order(count: int, seed: int, epoch: int) -> Array:
    """The order of the blocks in one epoch, int64[count]."""
    return generator(seed, "plain text", epoch).permutation(count)


def _check_ids(ids: Array, vocab_size: int, document: int) -> None:
    """Refuse an id that the vocabulary does not have."""
    if len(ids) and (ids.min() < 0 or ids.max() >= vocab_size):
        span = f"document {document}: ids from {ids.min()} to {ids.max()}"
        fix = "Use the tokenizer that made the ids."
        values = f"{span}; vocabulary: {vocab_size}"
        raise DataError("A token id is outside the vocabulary.", values, fix)


def _finish(
    handle: BinaryIO,
    shape: tuple[int, int],
    kind: np.dtype,
    starts_D: Array,
    about: Mapping[str, object],
) -> None:
    """Cut off the partial block, append the document starts, and fill the header in."""
    end = shape[0] * shape[1] * kind.itemsize
    handle.seek(8 + HEADER + end)
    handle.truncate()
    handle.write(starts_D.tobytes())
    header = {
        "__metadata__": {"format": FORMAT} | {name: str(value) for name, value in about.items()},
        "blocks": {
            "dtype": {2: "U16", 4: "I32"}[kind.itemsize],
            "shape": shape,
            "data_offsets": [0, end],
        },
        "document_starts": {
            "dtype": "I64",
            "shape": starts_D.shape,
            "data_offsets": [end, end + starts_D.nbytes],
        },
    }
    text = json.dumps(header).encode()
    assert len(text) <= HEADER
    handle.seek(0)
    handle.write(HEADER.to_bytes(8, "little") + text.ljust(HEADER))
