"""One normal form of a text, and its words in any script: what texts are compared by wherever we compare them."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
"""Scripts that put no space between words: each of their characters counts as a word."""

ASCII_WORD = re.compile("[a-z0-9]+")  # what `_word` finds where all is ASCII, several times faster


def normal_form(text: str) -> str:
    """The text without what no reader sees: NFC, one case, single spaces, no invisible characters.

    Invisible: Unicode's category Cf (zero-width spaces and joiners, byte order marks, soft hyphens, marks of direction).
    """
    composed = unicodedata.normalize("NFC", text)
    if not composed.isascii():
        composed = "".join(one for one in composed if unicodedata.category(one) != "Cf")
    return " ".join(unicodedata.normalize("NFC", composed.casefold()).split())


def words_of(text: str) -> list[str]:
    """The words of a text in its normal form: runs of letters and digits; single characters where a script has no spaces.

    Punctuation is left out; combining marks stay with the letter before them.
    """
    normal = normal_form(text)
    return ASCII_WORD.findall(normal) if normal.isascii() else _word().findall(normal)


def length_in_words(text: str) -> float:
    """About how many words a text has, in any script: a character of one without spaces counts as half a word."""
    words = words_of(text)
    characters = (
        0
        if text.isascii()
        else sum(_word(unspaced=True).fullmatch(word) is not None for word in words)
    )
    return len(words) - characters / 2


def word_spans(form: str) -> list[tuple[int, int]]:
    """Where the words of a text in its normal form begin and end."""
    return [match.span() for match in _word().finditer(form)]


@cache
def _word(*, unspaced: bool = False) -> regex.Pattern[str]:
    """A word: one character of a script without spaces, or a run of others, each with its combining marks.

    unspaced: of the former kind only.
    """
    import regex

    scripts = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
    one = rf"[{scripts}--\p{{P}}--\p{{S}}--\p{{M}}]\p{{M}}*"
    return regex.compile(
        one if unspaced else rf"{one}|(?:[\p{{L}}\p{{N}}--[{scripts}]]\p{{M}}*)+", regex.V1
    )
