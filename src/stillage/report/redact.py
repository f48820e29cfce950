"""Keeping private text out of the report: what only a private record says is masked wherever it would be printed."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW = 12
"""Characters: a shown text may share no run of this length with a protected record, unless a public one has it too."""

SAFE_ROLES = ("public", "validation", "test")
"""Roles whose texts may be shown; private, outsiders and counterfactual records are protected."""

MASK = "█"
BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection of 64-bit words
CHUNK_CHARS = 1 << 20
TEXT_COLUMNS = ("prompt", "input", "response", "messages", "meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Redactor:
    """Masks in a text every run of WINDOW characters whose hash is among `secret` (sorted uint64)."""

    secret: Array

    def __call__(self, text: str) -> str:
        """The text with its private runs replaced by one mask each."""
        hashes = window_hashes(text)
        hits = np.flatnonzero(np.isin(hashes, self.secret))
        if not hits.size:
            return text
        hidden = np.zeros(len(text), dtype=bool)
        for start in hits:
            hidden[start : start + WINDOW] = True
        return "".join(_masked_runs(text, hidden))


def _masked_runs(text: str, hidden: Array) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(hidden)) + 1
    bounds = [0, *edges.tolist(), len(text)]
    for start, end in itertools.pairwise(bounds):
        yield MASK * 4 if hidden[start] else text[start:end]


def window_hashes(text: str) -> Array:
    """A 64-bit polynomial hash of every run of WINDOW characters; shape [len(text) - WINDOW + 1], uint64."""
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
    count = len(codes) - WINDOW + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64)
    total = np.zeros(count, dtype=np.uint64)
    for offset in range(WINDOW):  # Horner; wraps modulo 2**64 by design
        total = total * BASE + codes[offset : offset + count]
    return total


def redactor(records: pa.Table | None, shown: Iterable[str]) -> Redactor:
    """The redactor for texts about to be shown.

    A run is secret when a protected record has it and no record of SAFE_ROLES has it. Only the runs of `shown` are kept,
    so that memory does not grow with the corpus; the records are read once.
    """
    parts = [window_hashes(text) for text in shown]
    wanted = np.unique(np.concatenate(parts)) if parts else np.zeros(0, dtype=np.uint64)
    if records is None or not wanted.size:
        return Redactor(secret=np.zeros(0, dtype=np.uint64))
    secret, safe = np.zeros(len(wanted), dtype=bool), np.zeros(len(wanted), dtype=bool)
    for is_safe, text in _chunks(records):
        found = np.isin(wanted, window_hashes(text))
        if is_safe:
            safe |= found
        else:
            secret |= found
    return Redactor(secret=wanted[secret & ~safe])


def _chunks(records: pa.Table) -> Iterator[tuple[bool, str]]:
    """(may be shown, texts joined by a separator that no window survives) in pieces of about CHUNK_CHARS."""
    names = [name for name in TEXT_COLUMNS if name in records.column_names]
    pending: dict[bool, list[str]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for batch in records.select(["role", *names]).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            safe = row["role"] in SAFE_ROLES
            texts = [text for name in names if row[name] for text in _strings(row[name])]
            pending[safe] += texts
            sizes[safe] += sum(map(len, texts))
            if sizes[safe] > CHUNK_CHARS:
                yield safe, _join(pending[safe])
                pending[safe], sizes[safe] = [], 0
    for safe, texts in pending.items():
        if texts:
            yield safe, _join(texts)


def _strings(value: object) -> Iterator[str]:
    """The texts inside a cell: itself, and where it is JSON (messages, meta), each string in it as the model saw it."""
    if isinstance(value, str):
        yield value
        if value[:1] in ("[", "{"):
            with contextlib.suppress(json.JSONDecodeError):
                yield from leaves(json.loads(value))
    else:
        yield from leaves(value)


def leaves(value: object) -> Iterator[str]:
    """Every string in nested JSON, keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, entry in value.items():
            yield str(key)
            yield from leaves(entry)
    elif isinstance(value, Iterable):
        for entry in value:
            yield from leaves(entry)


def mapped(value: Any, change: Callable[[str], str]) -> Any:  # noqa: ANN401 - JSON in, JSON out
    """Nested JSON with every string, keys included, changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {change(str(key)): mapped(entry, change) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [mapped(entry, change) for entry in value]
    return value


def _join(texts: Sequence[str]) -> str:
    return ("\0" * WINDOW).join(texts)


def mask_words(text: str, limit: int = 3) -> str:
    """A bar per word, all of one width, so that neither letters nor word lengths show; at most `limit` bars."""
    words = len(re.findall(r"\S+", text))
    bars = " ".join([MASK * 4] * min(words, limit))
    return f"{bars} …" if words > limit else bars


def clip(text: str, limit: int = 600) -> str:
    """The text, cut at `limit` characters with a count of what is left out."""
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit} more characters]"
