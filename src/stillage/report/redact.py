"""Masking what a free text has from private records alone: a model's answer, or words that somebody typed.

Only such texts are searched. The report's own words are never: they hold nothing that was not put in on purpose (private.py).
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.functional.words import normal_form, word_spans, words_of
from stillage.report.private import MASK
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

WINDOW = 12
"""Characters of the normal form: a shown text shares no run of this length with a protected record, unless a public one has
it too."""
FEWEST = 3
"""Characters of a word, and digits of a number, from which on it is a piece by itself; of a whole field: 2."""
DIGITS = 7
"""So many digits in a row that only protected records have are masked, however either side groups them."""
INSIDE = 5
"""Letters of a private word from which on a longer word is masked for holding it."""
GAP = 3
"""Characters, no letters and no digits, that may stand inside a number or a run whatever they are."""
CODE = range(6, 25)
"""Characters of a code of letters and digits that is looked for however it is grouped, in at most six parts."""
SAFE_ROLES = ("public", "validation", "test")
"""Roles whose texts may be shown; private, outsiders and counterfactual records are protected."""

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection of 64-bit words
CHUNK_CHARS = 1 << 20
NUMBERS = tuple(
    (re.compile(rf"[0-9](?:{gap}[0-9])+"), fewest)
    for gap, fewest in (("[-./: ]?", FEWEST), (rf"(?:[^\w\0]|_){{0,{GAP}}}", 6))
)
"""Digits, written together or in groups (078-05-1120 is 078051120), and how many make a number."""
TOKEN = re.compile(r"[^\s\0]+")
UNSPELLED = re.compile(r"(?:[^\w\0]|_)+")
SHORT = re.compile(r"(?<!\w)[^\W\d_]{2}(?!\w)")
SEPARATOR = " " + "\0" * WINDOW + " "
"""Between texts that are searched together: no run and no number goes over it."""
EDGES = "\"'`.,;:!?()[]{}<>«»„“”‘’*_|~#=…"
"""What may stand around a token and is no part of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redactor:
    """Masks in a text every run and every piece that protected records have and public ones have not.

    secret: hashes of the runs (runs_in), sorted uint64. pieces: words, tokens, numbers (written "#"
    and digits), codes, and short whole fields.
    """

    secret: Array
    pieces: frozenset[str]

    def __call__(self, text: str) -> str:
        """The text with its private parts replaced by one mask each."""
        if not (self.secret.size or self.pieces):
            return text
        text, form, origin = folded(text)
        hidden = np.zeros(len(text), dtype=bool)
        hashes, starts, ends = runs_in(form)
        found = np.isin(hashes, self.secret)
        spans = list(zip(starts[found].tolist(), ends[found].tolist(), strict=True))
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
        if not one.isascii() and unicodedata.category(one) == "Cf":
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


def runs_in(form: str) -> tuple[Array, Array, Array]:
    """The runs of a normal form: (hashes uint64, where each begins, where it ends).

    WINDOW characters as they are; WINDOW letters and digits, and DIGITS digits, with at most GAP
    other characters between two of them.
    """
    codes = np.frombuffer(form.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    kind, everywhere = kinds_of_characters()[codes], np.arange(codes.size)
    spelled, numbers = np.flatnonzero(kind > 0), np.flatnonzero(kind > 1)
    apart = np.cumsum((kind == 1) | (codes == 0))  # letters, and the ends of texts
    ends = np.cumsum(codes == 0)
    parts = [
        hashed_runs(codes, everywhere, np.ones(max(0, codes.size - 1), dtype=bool), WINDOW),
        hashed_runs(codes, spelled, linked(spelled, ends), WINDOW, kind=1),
        hashed_runs(kind, numbers, linked(numbers, apart), DIGITS, kind=2),
    ]
    hashes, first, last = (np.concatenate(part) for part in zip(*parts, strict=True))
    return hashes, first, last + 1


def linked(places: Array, barriers: Array) -> Array:
    """Whether each place and the next are in one run: near, and with no barrier between (counts)."""
    return (np.diff(places) <= GAP + 1) & (np.diff(barriers[places]) == 0)


def hashed_runs(
    codes: Array, places: Array, linked: Array, length: int, kind: int = 0
) -> tuple[Array, Array, Array]:
    """A 64-bit polynomial hash of every run of `length` linked characters; (hashes, first, last)."""
    count = places.size - length + 1
    if count <= 0:
        return np.zeros(0, dtype=np.uint64), places[:0], places[:0]
    symbols = codes[places].astype(np.uint64)
    total = np.full(count, kind, dtype=np.uint64)
    for offset in range(length):  # Horner; wraps modulo 2**64 by design
        total = total * BASE + symbols[offset : offset + count]
    broken = np.concatenate([[0], np.cumsum(~linked)])
    whole = np.flatnonzero(broken[length - 1 :] == broken[:count])
    return total[whole], places[whole], places[whole + length - 1]


@cache
def kinds_of_characters() -> Array:
    """Of every code point: 0, 1 for a letter (or a number that is no digit), 2 to 11 for a digit."""
    every = (chr(code) for code in range(sys.maxunicode + 1))
    kinds = (unicodedata.digit(one, -1) + 2 if one.isalnum() else 0 for one in every)
    return np.fromiter(kinds, dtype=np.uint8, count=sys.maxunicode + 1)


def in_digits(form: str) -> str:
    """The text with every digit of any script as one of 0 to 9, character by character."""
    if form.isascii():
        return form
    return "".join(str(unicodedata.digit(one, one)) for one in form)


def spans_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """The pieces of a normal form that may identify somebody, each with its place.

    Words (of two letters too: see redactor); tokens, as they are and their letters and digits alone;
    codes; numbers; two and three characters in a row of a script without spaces.
    """
    words = word_spans(form)
    for start, end in words:
        if end - start >= 2:
            yield form[start:end], (start, end)
    yield from runs_of(form)
    for match in TOKEN.finditer(form):
        token = match.group().strip(EDGES)
        start = match.start() + match.group().find(token)
        if len(token) >= FEWEST:
            yield token, (start, start + len(token))
            if len(close := spelled(token)) >= FEWEST:
                yield close, (start, start + len(token))
    yield from codes_of(form, words)
    digits = in_digits(form)
    for pattern, fewest in NUMBERS:
        for match in pattern.finditer(digits):
            if number := number_of(match.group(), fewest):
                yield number, match.span()


def codes_of(form: str, words: Sequence[tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Codes of letters and digits in up to six words, with at most GAP characters between two."""
    for index, (start, _) in enumerate(words):
        code, before = "", start
        for first, last in words[index : index + 6]:
            code += spelled(form[first:last])
            if first - before > GAP or len(code) >= CODE.stop:
                break
            if is_code(code):
                yield code, (start, last)
            before = last


def is_code(text: str) -> bool:
    """Is it of letters and digits, as numbers of passports and plates are?"""
    return len(text) in CODE and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def spelled(text: str) -> str:
    """The letters and digits of a text, without anything else but the ends of texts."""
    return UNSPELLED.sub("", text)


def number_of(written: str, fewest: int) -> str:
    """A number as a piece, "#" and its digits; empty where they are too few."""
    digits = re.sub("[^0-9]", "", written)
    return f"#{digits}" if len(digits) >= fewest else ""


def runs_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Every two and three characters in a row of a script without spaces, with their place."""
    if form.isascii():
        return
    words = word_spans(form)
    for index, (start, end) in enumerate(words):
        for first, last in words[index + 1 : index + 3]:
            if first != end:
                break
            yield form[start:last], (start, last)
            end = last


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

    A run, a piece or a whole short field is secret when a protected record has it and no record of
    SAFE_ROLES has it; words of two letters where a protected record writes them with a capital. A
    word is, too, that holds a secret word of INSIDE letters. Only those of `shown` are kept, so that
    memory does not grow with the corpus; every record is read once.
    """
    forms = [normal_form(text) for text in shown]
    hashes = [runs_in(form)[0] for form in forms]
    runs = np.unique(np.concatenate(hashes)) if hashes else np.zeros(0, dtype=np.uint64)
    if records is None or not any(forms):
        return Redactor(secret=runs[:0], pieces=frozenset())
    phrases = {phrase for form in forms for phrase, _ in phrases_of(form)}
    in_a_row = {piece for form in forms for piece, _ in runs_of(form)}
    words = {word for form in forms for word in words_of(form)}
    wanted = {piece for form in forms for piece, _ in spans_of(form)} - {
        word for word in words if len(word) < FEWEST and word not in in_a_row
    }
    tokens = {token for form in forms for token in TOKEN.findall(form)}
    codes = {code for token in tokens if is_code(code := spelled(token))}
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


def parts_of(word: str) -> set[str]:
    """Proper parts of a word of INSIDE to 24 characters, without digits."""
    size = len(word)
    parts = {
        word[start:end]
        for start in range(size - INSIDE + 1)
        for end in range(start + INSIDE, min(size, start + 24) + 1)
    }
    return {part for part in parts - {word} if not any(map(str.isdigit, part))}


def short_names(texts: Iterable[str]) -> set[str]:
    """Words of two letters that begin with a capital, in their normal form."""
    return {
        normal_form(word)
        for text in texts
        for word in SHORT.findall(unicodedata.normalize("NFC", text))
        if word[0].isupper()
    }


def held_in(runs: Array, form: str) -> Array:
    """Which of the runs (sorted hashes) a long text has; bool, one each."""
    found, hashes = np.zeros(len(runs), dtype=bool), runs_in(form)[0]
    if len(runs):
        places = np.minimum(np.searchsorted(runs, hashes), len(runs) - 1)
        found[places[runs[places] == hashes]] = True
    return found


def pieces_in(form: str, in_a_row: Collection[str], codes: Collection[str] = ()) -> set[str]:
    """The pieces of a long text, as `spans_of`.

    Of scripts without spaces only `in_a_row` is looked for, and of codes in several words only `codes`.
    """
    tokens = {token.strip(EDGES) for token in set(form.replace("\0", " ").split(" "))}
    found = {*words_of(form), *tokens, *map(spelled, tokens)}
    digits = in_digits(form)
    for pattern, fewest in NUMBERS:
        found |= {number_of(written, fewest) for written in set(pattern.findall(digits))}
    close = spelled(form) if codes else ""
    found |= {code for code in codes if code in close}
    return found | {piece for piece in in_a_row if piece in form}


def stands_in(phrase: str, form: str) -> bool:
    """Does a text have this phrase, from the beginning of a word to the end of one?"""
    return phrase in form and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", form) is not None


def _chunks(records: pa.Table, *, is_safe: bool) -> Iterator[list[str]]:
    """The texts of the records that may be shown, or of the others, about CHUNK_CHARS at a time."""
    import pyarrow.compute as pc

    safe = pc.field("role").isin(list(SAFE_ROLES))
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
