"""Overlap with references: ROUGE-L in any script, as published, and exact match."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING

from stillage.errors import DataError
from stillage.functional.words import words_of

if TYPE_CHECKING:
    import regex

ONE_SIGN = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-") | {"×": "*", "÷": "/"}
)
"""Dashes and the signs of multiplication and division, as they are written in ASCII."""
MEANT = (
    r"(?<=\d)\.(?=\d)|(?<![\p{L}\p{N}.])\.(?=\d)",  # 3.14, .5
    r"(?<=\d\s*)[+/^=<>%]|[+/^=<>](?=\s*\d)",  # 3 + 4, x = 5, 5 %
    # 3 - 4, 3 * 4, -5; not covid-19, **5**
    r"(?<=\d\s*)(?:-|\*+)(?=\s*[-+(]?\d)|(?<!\w)-(?=\.?\d)",
    r"(?<=\p{L})[+#]+",  # C++, C#
)
"""Punctuation and signs that are a part of the answer; all others are none."""
Words = Callable[[str], list[str]]


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """Measure how much of a reference's word order each answer keeps, 0 to 1.

    In any script; the best over its references. F-measure of the longest common subsequence of
    words: P = LCS / words of the answer, R = LCS / words of the reference, F = 2 P R / (P + R) (Lin
    2004). Words are those of `functional.words` after NFKC; those of a-z and digits above three
    letters are Porter-stemmed, so that ASCII texts score as `rouge_score` scores them. NaN where no
    reference has a word. Raises DataError when the lists differ in length, or a prediction has no
    reference.
    """
    return _best(predictions, references, cache(stemmed_words()))


def rouge_l_published(
    predictions: Sequence[str], references: Sequence[Sequence[str]]
) -> list[float]:
    """Measure ROUGE-L as `rouge_score` does with stemming, for published numbers.

    Its words are [a-z0-9]+ after lower-casing: an accent ends a word, other scripts have none. NaN
    where no reference has a word under this measure, or the answer has words of other scripts only.
    Errors as `rouge_l`.
    """
    words = cache(_published_words())
    found = _best(predictions, references, words)
    return [
        math.nan if not words(text) and words_of(text) else value
        for text, value in zip(predictions, found, strict=True)
    ]


def stemmed_words() -> Words:
    """Return what cuts a text into words, those of a-z and digits stemmed."""
    published = _published_words()

    def words(text: str) -> list[str]:
        return [
            part
            for word in words_of(unicodedata.normalize("NFKC", text))
            for part in (published(word) if word.isascii() else [word])
        ]

    return words


def _published_words() -> Words:
    """Return what cuts a text into words as `rouge_score` does, with its stemmer."""
    from rouge_score.tokenizers import DefaultTokenizer

    return DefaultTokenizer(use_stemmer=True).tokenize


def _best(
    predictions: Sequence[str], references: Sequence[Sequence[str]], words: Words
) -> list[float]:
    """Choose each answer's best F-measure over its references with words; else NaN."""
    check_references(predictions, references)
    return [
        max(
            (_f_measure(words(prediction), words(one)) for one in some if words(one)),
            default=math.nan,
        )
        for prediction, some in zip(predictions, references, strict=True)
    ]


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Tell whether each answer is one of its references (`normalise`).

    But for case, punctuation and white space. Signs and operators beside digits, and + or # after a
    letter, are no punctuation: -5 is not 5, nor C++ C#. A text of punctuation alone is compared as
    it is. Errors as `rouge_l`.
    """
    check_references(predictions, references)
    return [
        any(_same(prediction, reference) for reference in some)
        for prediction, some in zip(predictions, references, strict=True)
    ]


def _same(prediction: str, reference: str) -> bool:
    """Tell whether two answers are equal as `exact_match` compares them."""
    left, right = normalise(prediction), normalise(reference)
    return left == right and bool(left or prediction.strip() == reference.strip())


def normalise(text: str) -> str:
    """Reduce to NFKC, lower case, single spaces, no punctuation but what is `MEANT`."""
    plain = unicodedata.normalize("NFKC", text).lower().translate(ONE_SIGN)
    return " ".join(_punctuation().sub(lambda match: match["meant"] or "", plain).split())


@cache
def _punctuation() -> regex.Pattern[str]:
    """Compile a pattern of punctuation; group `meant`: what is part of an answer."""
    import regex

    return regex.compile(rf"(?P<meant>{'|'.join(MEANT)})|[\p{{P}}$+<=>^`|~]")


def _f_measure(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """Compute ROUGE-L of two lists of words, in the arithmetic of `rouge_score`."""
    from rapidfuzz.distance import LCSseq

    if not prediction or not reference:
        return 0.0
    common = LCSseq.similarity(prediction, reference)
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def check_references(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> None:
    """Refuse what would otherwise be scored silently short."""
    if len(predictions) != len(references):
        values = f"{len(predictions)} predictions, {len(references)} lists of references"
        raise DataError(
            "Predictions and references differ in number.",
            values,
            "Give one list of references for each.",
        )
    bare = [index for index, some in enumerate(references) if not some]
    if bare:
        raise DataError(
            "A prediction has no reference.",
            f"number {bare[0] + 1}",
            "Give each at least one reference.",
        )
