"""Masking what a free text has from private records alone: a model's answer, or words that somebody typed.

Only such texts are searched. The report's own words are never: they hold nothing that was not put in on purpose (private.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.functional.words import invisible, normal_form, word_spans, words_of
from stillage.report.private import MASK
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW = 12
"""Characters of the normal form: a shown text shares no run of this length with a protected record, unless a public one has
it too."""
FEWEST = 3
"""Characters of a word, and digits of a number, from which on it is a piece by itself; of a whole field: 2."""
SAFE_ROLES = ("public", "validation", "test")
"""Roles whose texts may be shown; private, outsiders and counterfactual records are protected."""

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection of 64-bit words
CHUNK_CHARS = 1 << 20
NUMBER = re.compile(r"\d(?:[-./: ]?\d)+")
"""Digits, written together or in groups: 078-05-1120 is 078051120 and 078 05 1120."""
BETWEEN = str.maketrans("", "", "-./: ")
TOKEN = re.compile(r"[^\s\0]+")
SEPARATOR = " " + "\0" * WINDOW + " "
"""Between texts that are searched together: no run and no number goes over it."""
EDGES = "\"'`.,;:!?()[]{}<>«»„“”‘’*_|~#=…"
"""What may stand around a token and is no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redactor:
    """Masks in a text every run of WINDOW characters and every piece that protected records have and public ones have not.

    secret: hashes of the runs, sorted uint64. pieces: words, tokens, numbers (written "#" and digits) and short whole fields.
    """

    secret: Array
    pieces: frozenset[str]

    def __call__(self, text: str) -> str:
        """The text with its private parts replaced by one mask each."""
        if not (self.secret.size or self.pieces):
            return text
        text, form, origin = folded(text)
        hidden = np.zeros(len(text), dtype=bool)
        spans = [
            (start, start + WINDOW)
            for start in np.flatnonzero(np.isin(window_hashes(form), self.secret)).tolist()
        ]
        spans += [
            span for piece, span in (*spans_of(form), *phrases_of(form)) if piece in self.pieces
        ]
        inside = np.zeros(len(form) + 1, dtype=np.int64)
        for start, end in spans:
            inside[start:end] = 1
        counted = np.concatenate([[0], np.cumsum(inside)])
        spans += [
            span for span in word_spans(form) if counted[span[1]] > counted[span[0]]
        ]  # no half of a word stays
        for start, end in spans:
            hidden[origin[start] : origin[end - 1] + 1] = True
        return "".join(_masked_runs(text, hidden)) if hidden.any() else text


def _masked_runs(text: str, hidden: Array) -> Iterator[str]:
    edges = np.flatnonzero(np.diff(hidden)) + 1
    bounds = [0, *edges.tolist(), len(text)]
    for start, end in itertools.pairwise(bounds):
        part = text[start:end]
        inside = part.strip()
        yield (
            part.replace(inside, MASK) if hidden[start] else part
        )  # the space around it tells where the words were


def folded(text: str) -> tuple[str, str, Sequence[int]]:
    """(the text in NFC, its normal form, for each character of the form its place in that text)."""
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
    return (
        form,
        form,
        range(len(form)),
    )  # letters that compose only once they are folded: the form itself is shown


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


def spans_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The pieces of a normal form that may identify somebody, each with its place: words, tokens, numbers.

    A word of a script without spaces is three characters in a row.
    """
    for start, end in word_spans(form):
        if end - start >= FEWEST:
            yield form[start:end], (start, end)
    yield from runs_of(form)
    for match in TOKEN.finditer(form):
        token = match.group().strip(EDGES)
        start = match.start() + match.group().find(token)
        if len(token) >= FEWEST:
            yield token, (start, start + len(token))
    for match in NUMBER.finditer(form):
        if number := number_of(match.group()):
            yield number, match.span()


def number_of(written: str) -> str:
    """A number as a piece, "#" and its digits; empty where they are too few."""
    digits = written.translate(BETWEEN)
    return f"#{digits}" if len(digits) >= FEWEST else ""


def runs_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every three characters in a row of a script without spaces, with their place."""
    if form.isascii():
        return
    words = word_spans(form)
    for first, second, third in zip(words, words[1:], words[2:], strict=False):
        if first[1] == second[0] and second[1] == third[0]:
            yield form[first[0] : third[1]], (first[0], third[1])


def phrases_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every phrase of whole words with 2 to WINDOW - 1 characters, and its place: how a short field stands in a text."""
    words = word_spans(form)
    for index, (start, _) in enumerate(words):
        for _, end in words[index:]:
            if end - start >= WINDOW:
                break
            if end - start >= 2:
                yield form[start:end], (start, end)


def redactor(records: pa.Table | None, shown: Iterable[str]) -> Redactor:
    """The redactor for texts about to be shown.

    A run, a piece or a whole short field is secret when a protected record has it and no record of SAFE_ROLES has it. Only
    those of `shown` are kept, so that memory does not grow with the corpus; every record is read once.
    """
    forms = [normal_form(text) for text in shown]
    hashes = [window_hashes(form) for form in forms]
    runs = np.unique(np.concatenate(hashes)) if hashes else np.zeros(0, dtype=np.uint64)
    if records is None or not any(forms):
        return Redactor(secret=runs[:0], pieces=frozenset())
    phrases = {phrase for form in forms for phrase, _ in phrases_of(form)}
    wanted = {piece for form in forms for piece, _ in spans_of(form)}
    in_a_row = {piece for form in forms for piece, _ in runs_of(form)}
    secret, pieces, fields = np.zeros(len(runs), dtype=bool), set[str](), set[str]()
    for texts in _chunks(records, is_safe=False):
        form = SEPARATOR.join(texts)
        secret |= found_in(runs, form)
        pieces |= wanted & pieces_in(form, in_a_row)
        fields |= phrases & set(texts)
    for texts in _chunks(records, is_safe=True):
        form = SEPARATOR.join(texts)
        secret &= ~found_in(runs, form)
        pieces -= pieces_in(form, in_a_row)
        fields = {phrase for phrase in fields if not stands_in(phrase, form)}
    return Redactor(secret=runs[secret], pieces=frozenset(pieces | fields))


def found_in(runs: Array, form: str) -> Array:
    """Which of the runs (sorted hashes) a long text has; bool, one each."""
    found, hashes = np.zeros(len(runs), dtype=bool), window_hashes(form)
    if len(runs):
        places = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
        found[places[runs[places] == hashes]] = True
    return found


def pieces_in(form: str, in_a_row: Collection[str]) -> set[str]:
    """The pieces of a long text, as `spans_of`; of those of scripts without spaces only `in_a_row` is looked for."""
    found = set(words_of(form)) | {
        token.strip(EDGES) for token in set(form.replace("\0", " ").split(" "))
    }
    found |= {number_of(written) for written in set(NUMBER.findall(form))}
    return found | {piece for piece in in_a_row if piece in form}


def stands_in(phrase: str, form: str) -> bool:
    """Does a text have this phrase, from the beginning of a word to the end of one?"""
    return phrase in form and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", form) is not None


def _chunks(records: pa.Table, *, is_safe: bool) -> Iterator[list[str]]:
    """The texts, in their normal form, of the records that may be shown or of the others, about CHUNK_CHARS at a time."""
    import pyarrow.compute as pc

    safe = pc.field("role").isin(list(SAFE_ROLES))
    pending, size = list[str](), 0
    for batch in records.filter(safe if is_safe else ~safe).to_batches(max_chunksize=4096):
        for row in batch.to_pylist():
            found = [normal_form(text) for text in texts_of(row)]
            pending += found
            size += sum(map(len, found))
            if size > CHUNK_CHARS:
                yield pending
                pending, size = [], 0
    if pending:
        yield pending


def texts_of(row: Mapping[str, object]) -> Iterator[str]:
    """Every text of a row of records.parquet: fields, what turns say, values of kept columns; not the columns' names."""
    yield from (
        text
        for name in ("prompt", "input", "response")
        if isinstance(text := row.get(name), str) and text
    )
    turns, meta = (parsed(row.get(name)) for name in ("messages", "meta"))
    for turn in turns if isinstance(turns, list) else ():
        yield from leaves(turn[1:] if isinstance(turn, list) else turn)
    for value in meta.values() if isinstance(meta, Mapping) else ():
        yield from leaves(value)
        if isinstance(value, str) and value[:1] in ("[", "{"):
            yield from leaves(parsed(value))


def parsed(cell: object) -> Any:  # noqa: ANN401 - JSON is what its writer made it
    """What a JSON text holds; None where it is none."""
    if isinstance(cell, str):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(cell)
    return None


def leaves(value: object) -> Iterator[str]:
    """Every text and number in nested JSON, keys included."""
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
    """The text, cut at `limit` characters with a count of what is left out."""
    return text if len(text) <= limit else f"{text[:limit]} … [{len(text) - limit} more characters]"
