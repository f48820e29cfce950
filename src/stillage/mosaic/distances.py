"""How far two token sequences are from each other, by seven distances."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set

Ids = Sequence[int]
GRAM = 13  # tokens, as the deduplication of SlimPajama compares


def hamming(a: Ids, b: Ids) -> int | None:
    """Count the places where two sequences differ; None where their lengths do."""
    if len(a) != len(b):
        return None
    return sum(x != y for x, y in zip(a, b, strict=True))


def levenshtein(a: Ids, b: Ids) -> int:
    """Count the fewest insertions, deletions and substitutions from one to the other."""
    from rapidfuzz.distance import Levenshtein

    return Levenshtein.distance(a, b)


def damerau(a: Ids, b: Ids) -> int:
    """Count the fewest edits and swaps of neighbours, unrestricted.

    What was swapped may change again.
    """
    from rapidfuzz.distance import DamerauLevenshtein

    return DamerauLevenshtein.distance(a, b)


def indel(a: Ids, b: Ids) -> int:
    """Count the fewest insertions and deletions: |a| + |b| - 2 LCS."""
    from rapidfuzz.distance import Indel

    return Indel.distance(a, b)


def token_overlap(a: Ids, b: Ids) -> float:
    """1 - |multiset intersection| / longer length; 0 of two empty ones."""
    if not a and not b:
        return 0.0
    return 1 - (Counter(a) & Counter(b)).total() / max(len(a), len(b))


def token_jaccard(a: Ids, b: Ids) -> float:
    """1 - |intersection| / |union| of the sets of ids; 0 of two empty ones."""
    return _jaccard(set(a), set(b))


def gram_jaccard(a: Ids, b: Ids) -> float:
    """1 - |intersection| / |union| of the sets of 13-grams; 0 of two empty ones.

    A sequence shorter than 13 is one gram, itself: different short ones are not alike.
    """
    return _jaccard(_grams(a), _grams(b))


DISTANCES: Mapping[str, Callable[[Ids, Ids], float | None]] = {
    "hamming": hamming,
    "levenshtein": levenshtein,
    "damerau": damerau,
    "indel": indel,
    "token_overlap": token_overlap,
    "token_jaccard": token_jaccard,
    "gram_jaccard": gram_jaccard,
}
"""By their columns in `table_columns.VARIATIONS`."""


def _grams(ids: Ids) -> set[tuple[int, ...]]:
    """The 13-grams of a sequence; of a shorter one itself; of an empty one none."""
    starts = range(max(1, len(ids) - GRAM + 1)) if ids else ()
    return {tuple(ids[start : start + GRAM]) for start in starts}


def _jaccard(a: Set[object], b: Set[object]) -> float:
    """The Jaccard distance of two sets."""
    return 1 - len(a & b) / len(a | b) if a or b else 0.0
