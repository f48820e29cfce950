"""One file of token ids and document borders, streamed out, memory-mapped in.

A safetensors file: `tokens` [T] (uint16 where the vocabulary fits, else uint32) and `offsets`
[D + 1] (uint64: where each document begins, in tokens; the last is T). Every id is content: borders
come from the offsets alone. The header's metadata says what made them.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.run.folder import atomic
from stillage.types import Array

HEADER = 4096  # bytes kept free for the header while the tokens stream: more than it can need
NAMES = {"U8": "<u1", "U16": "<u2", "U32": "<u4", "U64": "<u8", "I32": "<i4", "I64": "<i8"}
LARGEST_VOCABULARY = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFile:
    """An open file of tokens; document d is tokens_T[offsets_D[d]:offsets_D[d + 1]]."""

    path: Path
    tokens_T: Array  # uint16 or uint32, memory-mapped
    offsets_D: Array  # int64, one more than documents
    about: Mapping[str, str]  # what the writer said of it

    @property
    def documents(self) -> int:
        """How many documents the file holds, empty ones included."""
        return len(self.offsets_D) - 1


def token_type(vocab_size: int) -> np.dtype:
    """The integers that hold every id of a vocabulary. ConfigError where none does."""
    if not 1 <= vocab_size <= LARGEST_VOCABULARY:
        fix = f"Give 1 to {LARGEST_VOCABULARY}."
        raise ConfigError("No shard holds such a vocabulary.", f"vocab_size: {vocab_size}", fix)
    return np.dtype("<u2" if vocab_size <= 1 << 16 else "<u4")


def write_tokens(
    path: Path, documents: Iterable[Array], *, vocab_size: int, about: Mapping[str, object]
) -> tuple[int, int]:
    """Write documents (arrays of ids), atomically; how many, and tokens in all.

    Memory: one document, and eight bytes for each. DataError for an id outside the vocabulary.
    """
    batches = ((ids, np.array([len(ids)])) for ids in documents)
    return write_batches(path, batches, vocab_size=vocab_size, about=about)


def write_batches(
    path: Path,
    batches: Iterable[tuple[Array, Array]],
    *,
    vocab_size: int,
    about: Mapping[str, object],
) -> tuple[int, int]:
    """Write as `write_tokens` does, many documents at a time.

    batches: (ids of several documents, one after the other; the length of each).
    """
    kind, offsets, total = token_type(vocab_size), array("q", [0]), 0
    with atomic(path) as temporary, temporary.open("wb") as handle:
        handle.write(b" " * (8 + HEADER))
        for ids, lengths_D in batches:
            first, many = len(offsets) - 1, len(lengths_D)
            which = f"document {first}" if many == 1 else f"documents {first} to {first + many - 1}"
            check_token_ids(ids, vocab_size, which)
            handle.write(np.ascontiguousarray(ids, dtype=kind).data)
            offsets.frombytes((total + np.cumsum(lengths_D, dtype=np.int64)).tobytes())
            total += len(ids)
            assert offsets[-1] == total
        shapes = {"tokens": (kind, (total,)), "offsets": (np.dtype("<u8"), (len(offsets),))}
        handle.write(np.array(offsets, dtype="<u8").tobytes())
        handle.seek(0)
        handle.write(tensor_header(shapes, about))
    return len(offsets) - 1, total


def tensor_header(
    tensors: Mapping[str, tuple[np.dtype, tuple[int, ...]]], about: Mapping[str, object]
) -> bytes:
    """The first 8 + HEADER bytes of a file of these tensors, one after the other."""
    header: dict[str, object] = {
        "__metadata__": {name: str(value) for name, value in about.items()}
    }
    at = 0
    names = {np.dtype(kind): name for name, kind in NAMES.items()}
    for name, (kind, shape) in tensors.items():
        end = at + int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        header[name] = {"dtype": names[kind], "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    assert len(text) <= HEADER
    return HEADER.to_bytes(8, "little") + text.ljust(HEADER)


def open_tokens(path: Path, name: str = "The file of tokens") -> TokenFile:
    """Open a file of tokens. DataError where it is missing, cut short, or none."""
    tensors, about = read_header(path, name)
    if set(tensors) != {"tokens", "offsets"}:
        values = f"{path} holds: {', '.join(sorted(tensors)) or 'nothing'}"
        raise DataError(f"{name} is none.", values, "Give what `stillage corpus tokenize` wrote.")
    tokens_T = map_tensor(path, tensors["tokens"])
    offsets_D = np.array(map_tensor(path, tensors["offsets"]), dtype=np.int64)
    check_offsets(offsets_D, len(tokens_T), str(path))
    return TokenFile(path=path, tokens_T=tokens_T, offsets_D=offsets_D, about=about)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """Where a tensor lies in a file."""

    kind: np.dtype
    shape: tuple[int, ...]
    start: int  # bytes from the start of the file


def read_header(path: Path, name: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file, and its metadata; checks the file's length."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        values, fix = f"looked for: {path}", "Check the path, or make it again."
        raise DataError(f"{name} does not exist.", values, fix)
    try:
        with safe_open(path, framework="numpy") as file:  # checks the header and the length
            about = dict(file.metadata() or {})
        with path.open("rb") as handle:
            length = int.from_bytes(handle.read(8), "little")
            entries = json.loads(handle.read(length))
    except (SafetensorError, OSError, ValueError) as error:
        values, fix = f"{path}: {error}", "Make it again, or copy it anew: it was cut short."
        raise DataError(f"{name} is damaged.", values, fix) from error
    entries.pop("__metadata__", None)
    tensors = {
        key: Tensor(
            kind=np.dtype(NAMES[entry["dtype"]]),
            shape=tuple(entry["shape"]),
            start=8 + length + entry["data_offsets"][0],
        )
        for key, entry in entries.items()
        if entry["dtype"] in NAMES
    }
    return tensors, about


def map_tensor(path: Path, tensor: Tensor) -> Array:
    """Map a tensor of a file, read-only; an empty one is an empty array."""
    if not np.prod(tensor.shape, dtype=np.int64):
        return np.zeros(tensor.shape, dtype=tensor.kind)
    return np.memmap(path, dtype=tensor.kind, mode="r", offset=tensor.start, shape=tensor.shape)


def check_token_ids(ids: Array, vocab_size: int, name: str) -> None:
    """Refuse an id that the vocabulary does not have. name: what the ids are."""
    if len(ids) and (ids.min() < 0 or ids.max() >= vocab_size):
        values = f"{name}: ids from {ids.min()} to {ids.max()}; vocabulary: {vocab_size}"
        fix = "Use the tokenizer that made the ids."
        raise DataError("A token id is outside the vocabulary.", values, fix)


def check_offsets(offsets_D: Array, tokens: int, name: str) -> None:
    """Refuse offsets that do not cut so many tokens into documents."""
    first, last = (int(offsets_D[0]), int(offsets_D[-1])) if len(offsets_D) else (-1, -1)
    falls = np.flatnonzero(np.diff(offsets_D) < 0)
    if first == 0 and last == tokens and not len(falls):
        return
    values = f"{name}: {len(offsets_D)} offsets from {first} to {last}; tokens: {tokens}"
    if len(falls):
        values += f"; offset {falls[0] + 1} is smaller than the one before"
    fix = "Give documents + 1 offsets in tokens: 0 first, the number of tokens last."
    raise DataError("The offsets do not fit the tokens.", values, fix)
