"""The normal form that texts are compared by, and its words in any script."""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache, lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
"""Scripts without spaces between words: each of their characters counts as a word."""

ASCII_WORD = re.compile("[a-z0-9]+")  # what `_word` finds where all is ASCII, several times faster

# what `_word` finds where words that are not ASCII have spaces around them
SPACED_WORD = re.compile("[a-z0-9\x80-\U0010ffff]+")
SHORT_CHUNK = 24  # characters

# what `invisible` finds where all is ASCII
ASCII_CONTROLS = dict.fromkeys([*range(9), *range(14, 32), 127])

LETTER = r"[^\W\d_]"
WRITING = (
    ("&", re.compile(r"&(?:#\d+|#[xX][0-9a-fA-F]+|\w+);"), lambda match: html.unescape(match[0])),
    ("<", re.compile(r"</?(?:b|i|u|em|strong|mark|span)(?:\s[^<>]*)?>", re.IGNORECASE), ""),
    ("\\", re.compile(r"\\[nrt]"), " "),
    ("\n", re.compile(rf"(?<={LETTER})[-\u2010\xad][ \t\r]*\n\s*(?={LETTER})"), ""),
    ("*", re.compile(rf"(?<={LETTER})\*+(?={LETTER})"), ""),
    ("~~", re.compile(rf"(?<={LETTER})~~(?={LETTER})"), ""),
)
"""Marks of writing: what one begins with, all of it, and what it stands for.

Entities and tags of HTML, escaped line ends, words broken at a line's end, emphasis inside a word.
"""


def normal_form(text: str) -> str:
    """Strip a text of what no reader sees: NFC, one case, single spaces."""
    composed = without_invisible(unicodedata.normalize("NFC", text))
    return " ".join(unicodedata.normalize("NFC", composed.casefold()).split())


def compared_form(text: str) -> str:
    """Return what a text says, however it is written, to compare near-copies by.

    Full and half width and other forms of a character are one (NFKC), and `WRITING` is taken out.
    """
    for begins, mark, meaning in WRITING:
        if begins in text:
            text = mark.sub(meaning, text)
    return normal_form(unicodedata.normalize("NFKC", without_invisible(text)))


def without_invisible(text: str) -> str:
    """Take out a text's invisible characters."""
    return text.translate(ASCII_CONTROLS) if text.isascii() else _invisible().sub("", text)


def invisible(character: str) -> bool:
    """Tell whether no reader sees a character.

    A control or format character, or one that Unicode lets be ignored: zero-width spaces and
    joiners, variation selectors, fillers, soft hyphens, byte order and direction marks; never white
    space.
    """
    return not without_invisible(character)


def words_of(text: str) -> list[str]:
    """Cut a text's normal form into words: runs of letters and digits.

    Single characters where a script has no spaces. Punctuation is left out; combining marks stay
    with the letter before them.
    """
    return words_in(normal_form(text))


def words_in(form: str) -> list[str]:
    """Cut a text that has its normal form already into words (`words_of`).

    Most chunks between spaces are ASCII in many languages, and cut much faster; no word spans two.
    """
    if form.isascii():
        return ASCII_WORD.findall(form)
    chunks = (chunk if chunk.isascii() else _spaced(chunk) for chunk in form.split(" "))
    return SPACED_WORD.findall(" ".join(chunks))


def length_in_words(text: str) -> float:
    """Count a text's words; a character of a script without spaces is half a word."""
    words = words_of(text)
    characters = (
        0
        if text.isascii()
        else sum(_word(unspaced=True).fullmatch(word) is not None for word in words)
    )
    return len(words) - characters / 2


def word_spans(form: str) -> list[tuple[int, int]]:
    """Locate the words of a text in its normal form."""
    return [match.span() for match in _word().finditer(form)]


def _spaced(chunk: str) -> str:
    """Put single spaces between the words of a chunk, and nothing else."""
    return _spaced_short(chunk) if len(chunk) <= SHORT_CHUNK else " ".join(_word().findall(chunk))


@lru_cache(maxsize=1 << 15)
def _spaced_short(chunk: str) -> str:
    """Remember those that come often: words beside a quotation mark, or with an accent."""
    return " ".join(_word().findall(chunk))


@cache
def _invisible() -> regex.Pattern[str]:
    """Compile a pattern of every character that Unicode hides."""
    import regex

    ignored = r"\p{Cf}\p{Default_Ignorable_Code_Point}[\p{Cc}--\p{White_Space}]"
    return regex.compile(f"[{ignored}]+", regex.V1)


@cache
def _word(*, unspaced: bool = False) -> regex.Pattern[str]:
    """Compile a pattern of an unspaced character or a run of others, with its marks."""
    import regex

    scripts = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
    one = rf"[{scripts}--\p{{P}}--\p{{S}}--\p{{M}}]\p{{M}}*"
    return regex.compile(
        one if unspaced else rf"{one}|(?:[\p{{L}}\p{{N}}--[{scripts}]]\p{{M}}*)+", regex.V1
    )
