"""Overlap of an answer with its references: ROUGE-L as `rouge_score` counts it, and exact match."""

from __future__ import annotations

import string
from collections.abc import Sequence

from stillage.errors import DataError

PUNCTUATION = str.maketrans("", "", string.punctuation)


def rouge_l(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """How much of the reference's word order each answer keeps, 0 to 1; the best over its references.

    F-measure of the longest common subsequence of words: P = LCS / words of the answer, R = LCS / words of the
    reference, F = 2 P R / (P + R). Words are what `rouge_score` makes of a text with stemming: [a-z0-9]+ after
    lower-casing, Porter-stemmed above three letters, so other scripts have no words and score 0 (Lin 2004).
    Raises DataError when the lists differ in length, or a prediction has no reference.
    """
    check_references(predictions, references)
    from rouge_score.tokenizers import DefaultTokenizer

    tokenizer = DefaultTokenizer(use_stemmer=True)
    words = {text: tokenizer.tokenize(text) for text in {*predictions, *(text for some in references for text in some)}}
    return [
        max(_f_measure(words[prediction], words[reference]) for reference in some)
        for prediction, some in zip(predictions, references, strict=True)
    ]


def exact_match(predictions: Sequence[str], references: Sequence[Sequence[str]]) -> list[bool]:
    """Is each answer one of its references, but for case, ASCII punctuation and white space?

    Raises DataError as `rouge_l` does.
    """
    check_references(predictions, references)
    return [
        any(normalise(prediction) == normalise(reference) for reference in some)
        for prediction, some in zip(predictions, references, strict=True)
    ]


def normalise(text: str) -> str:
    """Lower case, no ASCII punctuation, single spaces; articles stay."""
    return " ".join(text.lower().translate(PUNCTUATION).split())


def _f_measure(prediction: Sequence[str], reference: Sequence[str]) -> float:
    """ROUGE-L of two lists of words, in the arithmetic of `rouge_score`; the common subsequence by rapidfuzz."""
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
        raise DataError("Predictions and references differ in number.", values, "Give one list of references for each.")
    bare = [index for index, some in enumerate(references) if not some]
    if bare:
        raise DataError("A prediction has no reference.", f"number {bare[0] + 1}", "Give each at least one reference.")
