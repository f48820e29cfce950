"""What of a text may identify somebody: words, tokens, numbers and codes.

All of a text in its normal form (functional.words). What the two sides of a comparison write apart
or together, or with other signs between, is the same run, number or code.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

import numpy as np

from stillage.functional.words import normal_form, word_spans, words_of
from stillage.types import Array

WINDOW = 12
"""Characters: a shown text shares no run of this length with a protected record, unless a public
one has it too."""
FEWEST = 3
"""Characters of a word, and digits of a number, from which on it is a piece; of a field: 2."""
DIGITS = 7
"""So many digits in a row are a run, however either side groups them."""
INSIDE = 5
"""Letters of a private word from which on a longer word is masked for holding it."""
GAP = 3
"""So many characters but letters and digits may stand inside a number or a run."""
CODE = range(6, 25)
"""Characters of a code of letters and digits that is looked for in up to six parts."""

BASE = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection of 64-bit words
NUMBERS = tuple(
    (re.compile(rf"[0-9](?:{gap}[0-9])+"), fewest)
    for gap, fewest in (("[-./: ]?", FEWEST), (rf"(?:[^\w\0]|_){{0,{GAP}}}", 6))
)
"""Digits, written together or in groups (078-05-1120 is 078051120), and how many make a number."""
GROUP = re.compile("[0-9]+")
TOKEN = re.compile(r"[^\s\0]+")
UNSPELLED = re.compile(r"(?:[^\w\0]|_)+")
SHORT = re.compile(r"(?<!\w)[^\W\d_]{2}(?!\w)")
EDGES = "\"'`.,;:!?()[]{}<>«»„“”‘’*_|~#=…"
"""What may stand around a token and is no part of it."""


def runs_in(form: str) -> tuple[Array, Array, Array]:
    """Find the runs of a normal form: (hashes, where each begins, where it ends).

    Hashes are uint64. WINDOW characters as they are; WINDOW letters and digits, and DIGITS digits,
    with at most GAP other characters between two of them.
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
    """Tell whether each place and the next are near, with no barrier between.

    barriers: how many there are up to each character.
    """
    return (np.diff(places) <= GAP + 1) & (np.diff(barriers[places]) == 0)


def hashed_runs(
    codes: Array, places: Array, linked: Array, length: int, kind: int = 0
) -> tuple[Array, Array, Array]:
    """Hash every run of linked characters: (hashes of 64 bits, first, last place)."""
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
    """Classify every code point: 0; 1: a letter (a number, no digit); 2-11: digits."""
    every = (chr(code) for code in range(sys.maxunicode + 1))
    kinds = (unicodedata.digit(one, -1) + 2 if one.isalnum() else 0 for one in every)
    return np.fromiter(kinds, dtype=np.uint8, count=sys.maxunicode + 1)


def in_digits(form: str) -> str:
    """Write every digit of any script as one of 0 to 9, character by character."""
    if form.isascii():
        return form
    return "".join(str(unicodedata.digit(one, one)) for one in form)


def spans_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Find the pieces of a normal form that may identify somebody, with their places.

    Words (of two letters too: see redactor); tokens, as they are and by their letters and digits;
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


def rests_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Find what masks may leave of a token or a number, each with its place.

    Words in a row within a token, the signs around them too; groups in a row within a number.
    Longer ones are runs.
    """
    for match in TOKEN.finditer(form):
        token, begin = match.group(), match.start()
        words = word_spans(token)
        borders = [0, *(place for word in words for place in word), len(token)]
        for index, (start, _) in enumerate(words):
            for last, (_, end) in enumerate(words[index:], index):
                if end - start >= WINDOW:
                    break
                rest = token[borders[2 * index] : borders[2 * last + 3]].strip(EDGES)
                for one in {rest, spelled(rest)}:
                    if len(one) >= FEWEST:
                        yield one, (begin + start, begin + end)
    digits = in_digits(form)
    for pattern, _ in NUMBERS:
        for match in pattern.finditer(digits):
            groups = [group.span() for group in GROUP.finditer(digits, *match.span())]
            for index, (start, _) in enumerate(groups):
                for _, end in groups[index : index + DIGITS]:
                    if number := number_of(digits[start:end], FEWEST):
                        yield number, (start, end)


def codes_of(form: str, words: Sequence[tuple[int, int]]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Find codes of letters and digits in up to six words, at most GAP apart."""
    for index, (start, _) in enumerate(words):
        code, before = "", start
        for first, last in words[index : index + 6]:
            code += spelled(form[first:last])
            if first - before > GAP or len(code) >= CODE.stop:
                break
            if is_code(code):
                yield code, (start, last)
            before = last


def close_codes(form: str) -> set[str]:
    """Find the codes of one token, or of words too short to be pieces.

    Any word and a number make a code ("paid 12"): that both texts have them apart tells nothing.
    """
    tokens = {spelled(token) for token in TOKEN.findall(form)}
    short = {
        code
        for code, (start, end) in codes_of(form, word_spans(form))
        if all(len(word) < FEWEST for word in words_of(form[start:end]))
    }
    return {code for code in tokens if is_code(code)} | short


def is_code(text: str) -> bool:
    """Tell whether letters and digits make a number as of passports and plates."""
    return len(text) in CODE and any(map(str.isdigit, text)) and any(map(str.isalpha, text))


def spelled(text: str) -> str:
    """Keep of a text the letters and digits, and the ends of texts."""
    return UNSPELLED.sub("", text)


def number_of(written: str, fewest: int) -> str:
    """Write a number as a piece, "#" and its digits; empty where they are too few."""
    digits = re.sub("[^0-9]", "", written)
    return f"#{digits}" if len(digits) >= fewest else ""


def runs_of(form: str) -> Iterator[tuple[str, tuple[int, int]]]:
    """Find every two and three characters in a row of a script without spaces."""
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
    """Find every phrase of whole words with 2 to WINDOW - 1 characters."""
    words = word_spans(form)
    for index, (start, _) in enumerate(words):
        for _, end in words[index:]:
            if end - start >= WINDOW:
                break
            if end - start >= 2:
                yield form[start:end], (start, end)


def parts_of(word: str) -> set[str]:
    """Cut a word into its proper parts of INSIDE to 24 characters without digits."""
    size = len(word)
    parts = {
        word[start:end]
        for start in range(size - INSIDE + 1)
        for end in range(start + INSIDE, min(size, start + 24) + 1)
    }
    return {part for part in parts - {word} if not any(map(str.isdigit, part))}


def short_names(texts: Iterable[str]) -> set[str]:
    """Find words of two letters that begin with a capital, in their normal form."""
    return {
        normal_form(word)
        for text in texts
        for word in SHORT.findall(unicodedata.normalize("NFC", text))
        if word[0].isupper()
    }


def pieces_in(form: str, in_a_row: Collection[str], codes: Collection[str] = ()) -> set[str]:
    """Find the pieces of a long text, as `spans_of`.

    Of scripts without spaces only `in_a_row` is looked for, of codes in several words only `codes`.
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
    """Tell whether a text has a phrase, from the start of a word to the end of one."""
    return phrase in form and re.search(rf"(?<!\w){re.escape(phrase)}(?!\w)", form) is not None
