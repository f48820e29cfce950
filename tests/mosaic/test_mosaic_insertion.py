"""Random tokens between pieces, and pieces apart."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.errors import ConfigError
from stillage.mosaic.insertion import inserted, pieces, scattered
from stillage.mosaic.kinds import Insertion, Scatter

GOLDEN = Path(__file__).parents[1] / "golden" / "near_duplicate_generation.json"
OTHERS = np.arange(1000, 1050)


@given(st.integers(2, 40), st.integers(1, 39), st.integers(1, 6), st.integers(0, 9))
def test_length_pieces_and_gaps(length: int, n: int, x: int, seed: int) -> None:
    if n >= length:
        return
    kind = Insertion(piece=n, inserted=x)
    canaries = [list(range(length)), list(range(100, 100 + length))]
    near = inserted(canaries, kind, count=3, seed=seed, others=OTHERS)
    for ids, of_canary in zip(canaries, near, strict=True):
        for variation in of_canary:
            assert len(variation) == length + x * (-(-length // n) - 1)
            assert [token for token in variation if token < 1000] == ids
            gaps = [k for k, token in enumerate(variation) if token >= 1000]
            assert all(k % (n + x) >= n for k in gaps)
        assert len({tuple(variation) for variation in of_canary}) > 1 or x * length < 9
    shorter = inserted(canaries[1:], kind, count=1, seed=seed, others=OTHERS)
    assert shorter != near[1:] or x * length < 9  # the number of a canary decides


def test_fewer_inserted_tokens_are_the_first_of_more() -> None:
    few, many = (
        inserted([range(6)], Insertion(piece=2, inserted=x), count=1, seed=1, others=OTHERS)[0][0]
        for x in (1, 3)
    )
    assert [few[2], few[5]] == [many[2], many[7]]


@pytest.mark.parametrize("n", [1, 5, 50])
def test_pieces_are_the_published_ones(n: int) -> None:
    name = {1: "n1_x1", 5: "n5_x2", 50: "n50_x3"}[n]
    cases = json.loads(GOLDEN.read_text())["cases"]
    case = next(case for case in cases if case["name"] == f"insert_random_tokens/{name}")
    ids, x = case["options"]["tokens"], case["options"]["n_insertions"]
    if n == 50:  # one piece: published as an unchanged copy, refused here
        with pytest.raises(ConfigError, match="cut in such pieces"):
            inserted([ids], Insertion(piece=n, inserted=x), count=1, seed=1, others=OTHERS)
        return
    assert pieces(ids, n) == case["expected"]["n_grams"]
    assert scattered([ids], Scatter(piece=n), count=2) == [[pieces(ids, n)] * 2]
    (variation,) = inserted([ids], Insertion(piece=n, inserted=x), count=1, seed=1, others=OTHERS)[
        0
    ]
    published = case["expected"]["result"]
    at_gaps = [k for k in range(len(published)) if k % (n + x) >= n]
    assert len(variation) == len(published)
    assert [
        published[k] if k in at_gaps else token for k, token in enumerate(variation)
    ] == published


def test_all_other_tokens_are_drawn_alike() -> None:
    near = inserted([range(2)], Insertion(piece=1, inserted=5), count=400, seed=1, others=OTHERS)
    drawn = np.bincount([ids[k] - 1000 for ids in near[0] for k in range(1, 6)], minlength=50)
    assert drawn.min() > 15 and drawn.max() < 75  # 40 each; 5 standard deviations are 31


@pytest.mark.parametrize("kind", [Insertion(piece=0, inserted=1), Insertion(piece=1, inserted=0)])
def test_what_is_no_insertion(kind: Insertion) -> None:
    with pytest.raises(ConfigError):
        inserted([range(5)], kind, count=1, seed=1, others=OTHERS)
    with pytest.raises(ConfigError):
        scattered([range(5)], Scatter(piece=kind.piece if not kind.piece else 5), count=1)
