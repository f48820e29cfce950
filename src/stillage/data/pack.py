"""Many short texts in one row of tokens: a corpus cut into blocks, and examples packed side by side without waste."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.data.blocks import Blocks, write_blocks
from stillage.data.tokenise import end_id
from stillage.errors import ConfigError, DataError
from stillage.types import Array, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

BATCH = 256  # documents per call of the tokenizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """Examples side by side in one row of at most block_tokens; a position may look at its own document only.

    position_T restarts at 0 with each document. Position ids alone do not keep documents apart: use `block_mask`.
    """

    record_ids: tuple[str, ...]  # document d is record_ids[d]
    ids_T: Array  # int32
    response_T: Array  # bool; False at each document's first token
    document_T: Array  # int32, from 0
    position_T: Array  # int32, from 0 in each document


def pack_corpus(
    documents: Iterable[str],
    tokenizer: PreTrainedTokenizerBase,
    path: Path,
    *,
    block_tokens: int,
    newline_before_end: bool = False,
) -> Blocks:
    """Tokenise documents, end each with EOS, concatenate, cut into blocks of block_tokens, and write them to `path`.

    No BOS; a text that spells a special token is plain text. newline_before_end: encode each document with the newline
    that ended its line, as the released scripts of MiniLLM and DistiLLM do. Raises ModelError without a fast tokenizer
    or EOS, DataError for a corpus shorter than one block (with both numbers), ConfigError for block_tokens < 2.
    """
    end = end_id(tokenizer)
    texts = (text + "\n" for text in documents) if newline_before_end else documents
    return write_blocks(
        path,
        _encoded(texts, tokenizer, end),
        block_tokens=block_tokens,
        vocab_size=len(tokenizer),
        tokenizer=tokenizer_hash(tokenizer),
    )


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """sha256 of a fast tokenizer's definition: equal where texts give equal ids. Raises ModelError for a slow one."""
    end_id(tokenizer)
    return hashlib.sha256(tokenizer.backend_tokenizer.to_str().encode()).hexdigest()  # type: ignore[attr-defined]


def pack_examples(examples: Sequence[Example], block_tokens: int) -> list[Packed]:
    """Put examples into as few rows of block_tokens as first-fit-decreasing finds, whole, each once.

    Longest first (then by id, then as given), each into the first row with room: at most 11/9 of the fewest rows, plus
    one (Johnson 1973). The same examples give the same rows in any order, as far as ids differ. Raises DataError for an
    example longer than a row, or without tokens.
    """
    lengths = [len(example.ids_T) for example in examples]
    unfit = [number for number, length in enumerate(lengths) if not 1 <= length <= block_tokens]
    if unfit:
        worst = max(unfit, key=lambda number: lengths[number])
        values = f"{len(unfit)} examples; {examples[worst].record_id}: {lengths[worst]} tokens; a row: {block_tokens}"
        raise DataError("Examples do not fit into a packed row.", values, "Raise block_tokens, or lower max_tokens.")
    if not examples:
        return []
    order = sorted(range(len(examples)), key=lambda number: (-lengths[number], examples[number].record_id))
    rows = first_fit([lengths[number] for number in order], block_tokens)
    members: list[list[Example]] = [[] for _ in range(max(rows) + 1)]
    for number, row in zip(order, rows, strict=True):
        members[row].append(examples[number])
    return [_packed(row) for row in members]


def first_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """For each length in turn, the first bin with room for it: O(n log n), over a tree of the largest room below a node."""
    if any(length > capacity for length in lengths):
        raise ConfigError("A length exceeds the capacity.", f"{max(lengths)} > {capacity}", "Raise the capacity.")
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    room = [capacity] * (2 * leaves)
    chosen: list[int] = []
    for length in lengths:
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        chosen.append(node - leaves)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return chosen


def block_mask(document_T: Array) -> Array:
    """bool[T, T]: may position t (row) look at position s (column)? Only back, and only within its own document."""
    steps_T = np.arange(len(document_T))
    return (steps_T[:, None] >= steps_T[None, :]) & (document_T[:, None] == document_T[None, :])


def _encoded(texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, end: int) -> Iterator[Array]:
    """The ids of each text, EOS at the end, int64."""
    rest = iter(texts)
    while batch := list(islice(rest, BATCH)):
        encoded = tokenizer(
            batch,
            add_special_tokens=False,
            return_attention_mask=False,
            split_special_tokens=True,
            verbose=False,
        )
        for ids in encoded["input_ids"]:
            yield np.array([*ids, end], dtype=np.int64)


def _packed(examples: Sequence[Example]) -> Packed:
    """One row of examples."""
    lengths = [len(example.ids_T) for example in examples]
    return Packed(
        record_ids=tuple(example.record_id for example in examples),
        ids_T=np.concatenate([example.ids_T for example in examples]),
        response_T=np.concatenate([example.response_T for example in examples]),
        document_T=np.repeat(np.arange(len(examples), dtype=np.int32), lengths),
        position_T=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
    )
