"""Shuffles exactly tau away: every order counted, each as likely, what cannot be refused."""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from safetensors.numpy import load_file
from scipy.stats import chisquare

from stillage.errors import ConfigError
from stillage.mosaic.kinds import Shuffle
from stillage.mosaic.shuffle import (
    below,
    different_orders,
    inversion_counts,
    inversions_for,
    kendall,
    permutation,
    shuffled_variations,
)
from stillage.rng import generator

GOLDEN = Path(__file__).parents[1] / "golden" / "near_duplicate_generation.json"
CASES = {case["name"]: case for case in json.loads(GOLDEN.read_text())["cases"]}


@pytest.mark.parametrize("items", range(1, 7))
def test_ranks_are_all_the_permutations_with_so_many_inversions(items: int) -> None:
    by_count: dict[int, set[tuple[int, ...]]] = {}
    for order in permutations(range(items)):
        swaps = sum(a > b for k, a in enumerate(order) for b in order[k + 1 :])
        assert kendall(order) == swaps
        by_count.setdefault(swaps, set()).add(order)
    for swaps, orders in by_count.items():
        number = inversion_counts(items, swaps)[items][swaps]
        made = [permutation(rank, items, swaps) for rank in range(number)]
        assert set(made) == orders and len(made) == len(orders)


def test_counts_sum_to_all_permutations() -> None:
    assert sum(inversion_counts(50, 50 * 49 // 2)[50]) == math.factorial(50)


def test_every_order_is_as_likely() -> None:
    rng = generator(1, "test")
    drawn = Counter(different_orders(5, 4, 1, rng)[0] for _ in range(4000))
    assert len(drawn) == inversion_counts(5, 4)[5][4] == 20
    assert chisquare(list(drawn.values())).pvalue > 1e-3
    wide = [below(3 * 2**70, rng) for _ in range(600)]
    assert chisquare(np.bincount([n >> 70 for n in wide], minlength=3)).pvalue > 1e-3
    assert {below(1, rng)} == {0}


def test_orders_differ_as_far_as_there_are_so_many() -> None:
    exist = inversion_counts(4, 1)[4][1]
    drawn = different_orders(4, 1, 7, generator(1, "test"))
    assert exist == 3
    assert sorted(Counter(drawn).values()) == [2, 2, 3]
    assert set(drawn[:3]) == set(drawn[3:6])


@given(st.integers(2, 60), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99))
def test_tau_is_within_half_a_pair_of_pieces(length: int, n: int, tau: float, seed: int) -> None:
    pairs = length * (length - 1) / 2
    groups = length // n
    assume(groups >= 2)
    reachable = groups * (groups - 1) / 2 * n**2 / pairs
    if not n**2 / pairs <= tau <= reachable:
        return
    (of_canary,) = shuffled_variations(
        [range(length)], Shuffle(piece=n, tau=tau), count=3, seed=seed
    )
    for ids in of_canary:
        assert sorted(ids) == list(range(length))
        assert abs(kendall(ids) / pairs - tau) <= 0.5 * n**2 / pairs + 1e-12
        starts = np.array(ids[: groups * n]).reshape(groups, n)
        assert (np.diff(starts, axis=1) == 1).all() and (starts[:, 0] % n == 0).all()
        assert ids[groups * n :] == list(range(groups * n, length))  # the short last piece


def test_published_targets_are_reached_and_published_orders_measure_the_same() -> None:
    case = CASES["kendall_shuffles/ngram10"]
    tensors = load_file(GOLDEN.with_suffix(".safetensors"))
    for name, tensor in case["input_roles"].items():
        tau = float(name.replace("_", "."))
        expected = case["expected"]["normalized_distances"][str(tau)]
        assert [kendall(row) / 4950 for row in tensors[tensor]] == pytest.approx(expected)
        assert inversions_for(tau, 10, 100) == round(expected[0] * 4950 / 100)
    for number in range(3):
        case = CASES[f"kendall_tau_distance/{number}"]
        one, two = case["options"]["rank1"], case["options"]["rank2"]
        assert kendall([two[k] for k in np.argsort(one)]) == case["expected"]["distance"]


@pytest.mark.parametrize(("n", "largest"), [(2, 0.990), (5, 0.960), (10, 0.909)])
def test_a_tau_out_of_reach_names_the_largest(n: int, largest: float) -> None:
    inversions_for(largest, n, 100)
    with pytest.raises(ConfigError) as caught:
        inversions_for(1.0, n, 100)
    reachable = float(caught.value.fix.split(" to ")[1].split()[0])
    assert reachable == pytest.approx(largest, abs=5e-4)
    inversions_for(reachable, n, 100)


@pytest.mark.parametrize(
    ("tau", "n"), [(0, 2), (-0.2, 2), (math.nan, 2), (math.inf, 2), (0.5, 0), (0.5, 51), (0.5, -1)]
)
def test_what_no_shuffle_can_be(tau: float, n: int) -> None:
    with pytest.raises(ConfigError):
        shuffled_variations([range(100)], Shuffle(piece=n, tau=tau), count=1, seed=1)
