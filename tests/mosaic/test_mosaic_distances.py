"""Distances between token sequences: published values, and definitions written out."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.mosaic.distances import DISTANCES, GRAM
from stillage.mosaic.table_columns import VARIATIONS

GOLDEN = Path(__file__).parents[1] / "golden" / "near_duplicate_generation.json"
CASES = [
    case
    for case in json.loads(GOLDEN.read_text())["cases"]
    if case["name"].startswith("sequence_distances")
]
PUBLISHED = {
    "hamming": "hamming",
    "levenshtein": "edit",
    "damerau": "damerau_levenshtein",
    "indel": "lcs_distance",
    "token_overlap": "token_overlap",
    "token_jaccard": "jaccard_token",
    "gram_jaccard": "jaccard_13gram",
}
IDS = st.lists(st.integers(0, 3), max_size=7)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_published_values(case: dict) -> None:
    a, b = case["options"]["a"], case["options"]["b"]
    found = {name: distance(a, b) for name, distance in DISTANCES.items()}
    assert found == pytest.approx({ours: case["expected"][PUBLISHED[ours]] for ours in DISTANCES})
    assert DISTANCES.keys() <= VARIATIONS.keys()


def by_search(a: list[int], b: list[int], *, substitute: int, swap: bool) -> int:
    """The cheapest way from a to b, by its recursion; swaps as Lowrance and Wagner (1975) say."""
    cost = {(0, 0): 0}
    for i in range(len(a) + 1):
        for j in range(len(b) + 1):
            ways = [cost[0, 0]] if not i and not j else []
            ways += [cost[i - 1, j] + 1] if i else []
            ways += [cost[i, j - 1] + 1] if j else []
            if i and j:
                ways.append(cost[i - 1, j - 1] + substitute * (a[i - 1] != b[j - 1]))
            if i and j and swap:
                ways += [
                    cost[k - 1, m - 1] + (i - k - 1) + 1 + (j - m - 1)
                    for k in range(1, i)
                    for m in range(1, j)
                    if a[k - 1] == b[j - 1] and a[i - 1] == b[m - 1]
                ]
            cost[i, j] = min(ways)
    return cost[len(a), len(b)]


@given(IDS, IDS)
def test_definitions_written_out(a: list[int], b: list[int]) -> None:
    assert DISTANCES["levenshtein"](a, b) == by_search(a, b, substitute=1, swap=False)
    assert DISTANCES["damerau"](a, b) == by_search(a, b, substitute=1, swap=True)
    assert DISTANCES["indel"](a, b) == by_search(a, b, substitute=2, swap=False)
    left = Counter(a)
    left.subtract(b)
    shared = len(a) - sum(n for n in left.values() if n > 0)
    longest = max(len(a), len(b))
    assert DISTANCES["token_overlap"](a, b) == (1 - shared / longest if longest else 0)
    hamming = DISTANCES["hamming"](a, b)
    assert (hamming is None) == (len(a) != len(b))
    if hamming is not None:
        assert hamming == sum(map(int.__ne__, a, b))


def test_a_sequence_shorter_than_the_gram_is_compared_whole() -> None:
    short, longer = list(range(5)), list(range(GRAM))
    distance = DISTANCES["gram_jaccard"]
    assert distance(short, short) == distance([], []) == distance(longer, longer) == 0
    assert distance(short, short[:4]) == distance(short, longer) == distance(short, []) == 1
