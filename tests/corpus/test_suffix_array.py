"""Suffix order and shared prefixes equal sorting by brute force, whatever the ids, borders and sizes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.corpus.suffix_array import suffix_array

IDS = st.one_of(
    st.integers(0, 2), st.sampled_from([0, 255, 256, 65_534, 65_535, 65_536, 2**32 - 1])
)
DOCUMENTS = st.lists(st.lists(IDS, max_size=12), max_size=12)


def laid_out(documents: list[list[int]], kind: type = np.uint32) -> tuple[np.ndarray, np.ndarray]:
    tokens_T = np.array([one for ids in documents for one in ids], dtype=kind)
    return tokens_T, np.cumsum([0, *map(len, documents)])


def brute(documents: list[list[int]]) -> tuple[list[int], list[int]]:
    """Sort (rest of the document, place); count what neighbours share."""
    rests, place = [], 0
    for ids in documents:
        for at in range(len(ids)):
            rests.append((ids[at:], place))
            place += 1
    rests.sort()
    lcp = [0] * len(rests)
    for rank in range(1, len(rests)):
        pairs = zip(rests[rank - 1][0], rests[rank][0], strict=False)
        lcp[rank] = next(
            (n for n, (a, b) in enumerate(pairs) if a != b),
            min(len(rests[rank - 1][0]), len(rests[rank][0])),
        )
    return [place for _, place in rests], lcp


def check(documents: list[list[int]], **limits: int) -> None:
    suffixes_T, lcp_T = suffix_array(*laid_out(documents), **limits)
    expected = brute(documents)
    assert suffixes_T.tolist() == expected[0]
    assert lcp_T.tolist() == expected[1]
    assert (suffixes_T.dtype, lcp_T.dtype) == (np.uint32, np.uint32)


@given(DOCUMENTS)
@settings(max_examples=150)
def test_order_and_prefixes_equal_brute_force(documents: list[list[int]]) -> None:
    check(documents)


@given(DOCUMENTS)
@settings(max_examples=30)
def test_64_bit_places_give_the_same(documents: list[list[int]]) -> None:
    check(documents, largest=0)


@pytest.mark.parametrize("alphabet", [1, 2, 300])
@pytest.mark.parametrize("tokens", [0, 1, 2, 50, 99])
def test_tiny_inputs(tokens: int, alphabet: int) -> None:
    ids = np.random.default_rng(tokens).integers(0, alphabet, tokens).tolist()
    check([ids])
    check([[], ids[:1], [], ids[1:], []])


def test_equal_documents_stand_in_the_order_of_their_places() -> None:
    """More documents than one byte counts, so that the border needs more than one element."""
    check([[7, 7]] * 300 + [[7]] * 10)
    check([[]] * 100 + [[1, 2]] * 3 + [[]] * 100)


@pytest.mark.parametrize("count", [255, 256, 65_535, 65_536])
def test_alphabets_at_the_borders_of_a_byte(count: int) -> None:
    ids = np.random.default_rng(1).permutation(count) * 3
    suffixes_T, lcp_T = suffix_array(
        np.concatenate([ids, ids]).astype(np.uint32), np.array([0, count, 2 * count])
    )
    first = np.argsort(ids)
    assert suffixes_T.reshape(-1, 2).tolist() == np.stack([first, first + count], axis=1).tolist()
    assert (lcp_T[1::2] == count - first).all() and not lcp_T[::2].any()


def test_one_token_repeated_takes_linear_time() -> None:
    """Quadratic would be 10^11 steps."""
    tokens = 400_000
    suffixes_T, lcp_T = suffix_array(np.zeros(tokens, dtype=np.uint16), np.array([0, tokens]))
    assert (suffixes_T == np.arange(tokens)[::-1]).all() and (lcp_T == np.arange(tokens)).all()


def test_input_stays_as_it_is_and_may_be_read_only() -> None:
    tokens_T = np.array([3, 1, 3, 1, 2], dtype=np.uint16)
    tokens_T.flags.writeable = False
    suffix_array(tokens_T, np.array([0, 2, 5]))
    assert tokens_T.tolist() == [3, 1, 3, 1, 2]
