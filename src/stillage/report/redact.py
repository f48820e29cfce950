"""Masking what a free text has from private records alone.

Searched are models' answers, and words that somebody typed or a plug-in wrote. The report's own
words never are: they hold nothing that was not put in on purpose (private.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.functional.words import invisible, normal_form, word_spans, words_of
from stillage.report.pieces import (
    FEWEST,
    WINDOW,
    close_codes,
    is_code,
    parts_of,
    phrases_of,
    pieces_in,
    rests_of,
    runs_in,
    runs_of,
    short_names,
    spans_of,
    stands_in,
)
from stillage.report.private import MASK
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

SAFE_PARTS = ("public", "validation", "test")
"""Parts whose texts may be shown; private, nonmembers and counterfactual records are protected."""

CHUNK_CHARS = 1 << 20
SEPARATOR = " " + "\0" * WINDOW + " "
"""Between texts that are searched together: no run and no number goes over it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redactor:
    """Mask every run and piece of a text that only protected records have.

    secret: hashes of the runs (runs_in), sorted uint64. pieces: words, tokens, numbers (written "#"
    and digits), codes, and short whole fields.
    """

    secret: Array
    pieces: frozenset[str]

    def __call__(self, text: str) -> str:
        """Replace every private part of a text by one mask."""
        if not (self.secret.size or self.pieces):
            return text
        text, form, origin = folded(text)
        hidden = np.zeros(len(text), dtype=bool)
        hashes, starts, ends = runs_in(form)
        found = np.isin(hashes, self.secret)
        spans = list(zip(starts[found].tolist(), ends[found].tolist(), strict=True))
        spans += [
            span
            for piece, span in (*spans_of(form), *phrases_of(form), *rests_of(form))
            if piece in self.pieces
        ]
        inside = np.zeros(len(form) + 1, dtype=np.int64)
        for start, end in spans:
            inside[start:end] = 1
        counted = np.concatenate([[0], np.cumsum(inside)])
        # no half of a word stays
        spans += [span for span in word_spans(form) if counted[span[1]] > counted[span[0]]]
        for start, end in spans:
            hidden[origin[start] : origin[end - 1] + 1] = True
        return "".join(_masked_runs(text, hidden)) if hidden.any() else text


def _masked_runs(text: str, hidden: Array) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(hidden)) + 1
    bounds = [0, *edges.tolist(), len(text)]
    for start, end in itertools.pairwise(bounds):
        part = text[start:end]
        inside = part.strip()
        # the space around it tells where the words were
        yield part.replace(inside, MASK) if hidden[start] else part


def folded(text: str) -> tuple[str, str, Sequence[int]]:
    """Fold a text: (in NFC, its normal form, the place of each character of that)."""
    text = unicodedata.normalize("NFC", text)
    characters: list[str] = []
    origin: list[int] = []
    for place, one in enumerate(text):
        if invisible(one):
            continue
        for part in unicodedata.normalize("NFC", one.casefold()):
            if not part.isspace():
                characters.append(part)
                origin.append(place)
            elif characters and characters[-1] != " ":
                characters.append(" ")
                origin.append(place)
    if characters and characters[-1] == " ":
        characters.pop()
        origin.pop()
    form = normal_form(text)
    if "".join(characters) == form:
        return text, form, origin
    return form, form, range(len(form))  # letters compose only once they are folded: show the form


def redactor(records: pa.Table | None, shown: Iterable[str]) -> Redactor:
    """Make the redactor for texts about to be shown.

    A run, a piece or a whole short field is secret when a protected record has it and no record of
    SAFE_PARTS has it; words of two letters where a protected record writes them with a capital. A
    word is, too, that holds a secret word of INSIDE letters. Only those of `shown` are kept, so
    that memory does not grow with the corpus; every record is read once.
    """
    forms = [normal_form(text) for text in shown]
    hashes = [runs_in(form)[0] for form in forms]
    runs = np.unique(np.concatenate(hashes)) if hashes else np.zeros(0, dtype=np.uint64)
    if records is None or not any(forms):
        return Redactor(secret=runs[:0], pieces=frozenset())
    phrases = {phrase for form in forms for phrase, _ in phrases_of(form)}
    in_a_row = {piece for form in forms for piece, _ in runs_of(form)}
    words = {word for form in forms for word in words_of(form)}
    wanted = {piece for form in forms for piece, _ in (*spans_of(form), *rests_of(form))} - {
        word for word in words if len(word) < FEWEST and word not in in_a_row
    }
    codes = {code for form in forms for code in close_codes(form)}
    inside = {part for word in words for part in parts_of(word)}
    secret, pieces, fields = np.zeros(len(runs), dtype=bool), set[str](), set[str]()
    public = set[str]()
    for texts in _chunks(records, is_safe=False):
        form = SEPARATOR.join(map(normal_form, texts))
        secret |= held_in(runs, form)
        pieces |= (wanted | inside) & pieces_in(form, in_a_row, codes)
        pieces |= words & short_names(texts)
        fields |= phrases & set(map(normal_form, texts))
    for texts in _chunks(records, is_safe=True):
        form = SEPARATOR.join(map(normal_form, texts))
        secret &= ~held_in(runs, form)
        known = pieces_in(form, in_a_row, {piece for piece in pieces if is_code(piece)})
        pieces -= known | {piece[1:] for piece in known if piece.startswith("#")}
        public |= words & known
        fields = {phrase for phrase in fields if not stands_in(phrase, form)}
    pieces |= {word for word in words - public if not pieces.isdisjoint(parts_of(word))}
    return Redactor(secret=runs[secret], pieces=frozenset(pieces | fields))


def held_in(runs: Array, form: str) -> Array:
    """Tell which of the runs (sorted hashes) a long text has; bool, one each."""
    found, hashes = np.zeros(len(runs), dtype=bool), runs_in(form)[0]
    if len(runs):
        places = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
        found[places[runs[places] == hashes]] = True
    return found


def _chunks(records: pa.Table, *, is_safe: bool) -> Iterator[list[str]]:
    """Read the texts of safe or protected records, about CHUNK_CHARS at a time."""
    import pyarrow.compute as pc

    safe = pc.field("part").isin(list(SAFE_PARTS))
    pending, size = list[str](), 0
    for batch in records.filter(safe if is_safe else ~safe).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            found = list(texts_of(row))
            pending += found
            size += sum(map(len, found))
            if size > CHUNK_CHARS:
                yield pending
                pending, size = [], 0
    if pending:
        yield pending


def texts_of(row: Mapping[str, object]) -> Iterator[str]:
    """Read every text of a row of records.parquet.

    Fields, what turns say, values of kept columns; not the columns' names.
    """
    fields = (row.get(name) for name in ("prompt", "input", "response"))
    yield from (text for text in fields if isinstance(text, str) and text)
    turns, meta = (parsed(row.get(name)) for name in ("messages", "meta"))
    for turn in turns if isinstance(turns, list) else ():
        yield from leaves(turn[1:] if isinstance(turn, list) else turn)
    for value in meta.values() if isinstance(meta, Mapping) else ():
        yield from leaves(value)
        if isinstance(value, str) and value[:1] in ("[", "{"):
            yield from leaves(parsed(value))


def parsed(cell: object) -> Any:  # noqa: ANN401 - JSON is what its writer made it
    """Read what a JSON text holds; None where it is none."""
    if isinstance(cell, str):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(cell)
    return None


def leaves(value: object) -> Iterator[str]:
    """List every text and number in nested JSON, keys included."""
    if isinstance(value, Mapping):
        for key, entry in value.items():
            yield str(key)
            yield from leaves(entry)
    elif isinstance(value, str):
        yield value
    elif isinstance(value, Iterable):
        for entry in value:
            yield from leaves(entry)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def clip(text: str, limit: int = 600) -> str:
    """Cut a text at `limit` characters, with a count of what is left out."""
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit} more characters]"
