"""One normal form of a text, and its words in any script: what texts are compared by wherever we compare them."""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
"""Scripts that put no space between words: each of their characters counts as a word."""


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
    return _word().findall(normal_form(text))


def word_spans(form: str) -> list[tuple[int, int]]:
    """Where the words of a text in its normal form begin and end."""
    return [match.span() for match in _word().finditer(form)]


@cache
def _word() -> regex.Pattern[str]:
    """A word: one character of a script without spaces, or a run of others, each with its combining marks."""
    import regex

    unspaced = "".join(rf"\p{{Script={name}}}" for name in UNSPACED)
    return regex.compile(
        rf"[{unspaced}--\p{{P}}--\p{{S}}--\p{{M}}]\p{{M}}*|(?:[\p{{L}}\p{{N}}--[{unspaced}]]\p{{M}}*)+", regex.V1
    )
