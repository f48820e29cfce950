"""Blocks of equal length: a file of tokens, read as one row and cut.

A packed corpus is a token file (`token_file`) whose metadata says how long a block is; the tokens
after the last whole block stay in the file and are counted, not read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from stillage.corpus.token_file import open_tokens, read_header, write_tokens
from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import atomic
from stillage.types import Array, Example

FORMAT = "stillage blocks 2"
FIRST_FORMAT = "stillage blocks 1"
"""What earlier versions wrote: blocks alone, without the tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """An open file of blocks; block n is blocks_NT[n]."""

    path: Path
    blocks_NT: Array  # uint16 or uint32, memory-mapped
    document_starts_D: Array  # int64, in tokens: of the documents that begin in a block
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
    about = {"format": FORMAT, "block_tokens": block_tokens}
    about |= {"vocab_size": vocab_size, "tokenizer": tokenizer}
    with atomic(path) as temporary:
        count, total = write_tokens(temporary, documents, vocab_size=vocab_size, about=about)
        if total < block_tokens:
            raise too_short(total, count, block_tokens)
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
    if not path.is_file():
        fix = "Make it: stillage data plain-text pack."
        raise DataError("There is no file of blocks.", f"looked for: {path}", fix)
    about = read_header(path, "The file of blocks")[1]
    if (found := about.get("format")) != FORMAT:
        what = "The file does not hold blocks."
        if found == FIRST_FORMAT:
            what = "The blocks were packed by an earlier version, in another layout."
        values = f"{path}: format {found}; this version reads: {FORMAT}"
        raise DataError(what, values, "Pack the corpus again: stillage data plain-text pack.")
    if tokenizer and about["tokenizer"] and about["tokenizer"] != tokenizer:
        values = f"{path}: {about['tokenizer'][:12]}; the model's: {tokenizer[:12]}"
        fix = "Pack the corpus with this one."
        raise DataError("The blocks were made with another tokenizer.", values, fix)
    file = open_tokens(path, "The file of blocks")
    block_tokens = int(about["block_tokens"])
    count, dropped = divmod(len(file.tokens_T), block_tokens)
    end = count * block_tokens
    starts_D = file.offsets_D[:-1]
    return Blocks(
        path=path,
        blocks_NT=file.tokens_T[:end].reshape(count, block_tokens),
        document_starts_D=starts_D[starts_D < end],
        documents=file.documents,
        dropped_tokens=dropped,
        vocab_size=int(about["vocab_size"]),
        tokenizer=about["tokenizer"],
    )


def block_example(blocks: Blocks, number: int) -> Example:
    """A block as an example (`all_trained`)."""
    return all_trained(f"block-{number}", blocks.blocks_NT[number])


def all_trained(record_id: str, ids_T: Array) -> Example:
    """Plain text as an example: all is trained but the first, which nothing predicts."""
    response_T = np.arange(len(ids_T)) > 0
    return Example(record_id=record_id, ids_T=ids_T.astype(np.int32), response_T=response_T)


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
