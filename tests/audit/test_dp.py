"""The one-run audit: the theorem's numbers by brute force, its level under mechanisms of known epsilon, and honest guesses."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from stillage.audit.privacy_bound import Guessed, epsilon_lower_bound, guess, p_value
from stillage.errors import DataError


def brute_force(epsilon: float, r: int, v: int, m: int, delta: float) -> float:
    """The theorem as it is written, over all i = 1 .. m."""
    right = math.exp(epsilon) / (1 + math.exp(epsilon))
    chance = binom.pmf(np.arange(r + 1), r, right)
    slack = max(sum(chance[k] for k in range(r + 1) if v - i <= k < v) / i for i in range(1, m + 1))
    return min(1.0, float(chance[v:].sum()) + 2 * m * delta * slack)


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
@pytest.mark.parametrize(("r", "v", "m"), [(20, 15, 30), (20, 20, 20), (7, 1, 40), (60, 41, 60)])
def test_p_value_is_the_theorem(delta: float, r: int, v: int, m: int) -> None:
    for epsilon in (0.0, 0.3, 1.0, 4.0):
        found = p_value(epsilon, n_guesses=r, n_correct=v, m=m, delta=delta)
        assert found == pytest.approx(brute_force(epsilon, r, v, m, delta), rel=1e-9, abs=1e-15)


def test_bound_is_where_the_p_value_reaches_the_level() -> None:
    for delta in (0.0, 1e-5):
        low = epsilon_lower_bound(n_guesses=100, n_correct=90, m=1000, delta=delta)
        counts = {"n_guesses": 100, "n_correct": 90, "m": 1000, "delta": delta}
        assert p_value(low, **counts) == pytest.approx(0.05, abs=1e-4)
    alone = epsilon_lower_bound(
        n_guesses=100, n_correct=100, m=100
    )  # (e^eps / (1 + e^eps))^100 = 0.05
    assert alone == pytest.approx(math.log(0.05**0.01 / (1 - 0.05**0.01)), abs=1e-5)


def test_p_value_rises_with_epsilon_and_the_bound_falls_with_delta() -> None:
    for delta in (0.0, 1e-4, 5e-4):
        values = [
            p_value(e, n_guesses=200, n_correct=150, m=1000, delta=delta)
            for e in np.linspace(0, 6, 400)
        ]
        assert (np.diff(values) >= -1e-12).all()
    bounds = [
        epsilon_lower_bound(n_guesses=200, n_correct=190, m=1000, delta=d)
        for d in (0.0, 1e-5, 1e-4, 4e-4, 1e-3)
    ]
    assert bounds == sorted(bounds, reverse=True) and bounds[0] > 2 and bounds[-1] == 0.0


@pytest.mark.parametrize("epsilon", [0.0, 1.0, 4.0])
def test_randomised_response_is_never_accused_too_often(epsilon: float) -> None:
    """Each coin is told rightly with probability e^eps / (1 + e^eps): exactly eps-private, and the worst case of the theorem."""
    rng, m, trials = np.random.default_rng(5), 1000, 2000
    right = rng.binomial(m, 1 / (1 + math.exp(-epsilon)), trials)
    by_count = {v: epsilon_lower_bound(n_guesses=m, n_correct=v, m=m) for v in set(right.tolist())}
    bounds = np.array([by_count[v] for v in right.tolist()])
    too_high = (bounds > epsilon).sum()
    assert too_high <= binom.ppf(0.999, trials, 0.05)
    assert np.median(bounds) > {0.0: -1, 1.0: 0.8, 4.0: 3.3}[epsilon]


def test_level_holds_for_guesses_by_score_under_the_null() -> None:
    """Scores that know nothing, some equal, some missing: a positive bound in at most one of twenty runs."""
    rng, trials, found = np.random.default_rng(6), 400, 0
    ids = [f"{k:04d}" for k in range(300)]
    for _ in range(trials):
        coins = rng.random(300) < 0.5
        scores = rng.integers(0, 40, 300).astype(float)
        scores[rng.random(300) < 0.05] = np.nan
        made = guess(scores, ids, coins, 40, 30)
        found += (
            epsilon_lower_bound(n_guesses=70, n_correct=made.n_correct, m=made.m, delta=1e-5) > 0
        )
    assert found <= binom.ppf(0.999, trials, 0.05)


def test_gaussian_noise_is_bounded_and_seen() -> None:
    """Score = coin + noise of a size whose (epsilon, delta) is known; only the surest are guessed."""
    rng, m, sigma, delta = np.random.default_rng(7), 1000, 0.4, 1e-5
    epsilon = (
        0.5 / sigma**2 + math.sqrt(2 * math.log(1 / delta)) / sigma
    )  # of the Gaussian mechanism, sensitivity 1
    ids = [f"{k:04d}" for k in range(m)]
    bounds = []
    for _ in range(50):
        coins = rng.random(m) < 0.5
        made = guess(coins + rng.normal(0, sigma, m), ids, coins, 100, 100)
        bounds.append(
            epsilon_lower_bound(n_guesses=200, n_correct=made.n_correct, m=m, delta=delta)
        )
    assert max(bounds) < epsilon and min(bounds) > 1.5


def test_guesses_are_the_extremes_and_ties_go_by_id() -> None:
    scores = np.array([5.0, 1.0, np.nan, 3.0, 3.0, 2.0])
    coins = np.array([True, False, True, False, True, True])
    ids = ["a", "b", "c", "e", "d", "f"]
    assert guess(scores, ids, coins, 1, 1) == Guessed(n_guesses=2, n_correct=2, m=6)
    assert guess(scores, ids, coins, 2, 0).n_correct == 1  # "e" ranks above "d", and it is out
    assert guess(scores, ids, coins, 0, 2).n_correct == 1
    assert (
        guess(scores, ids, ~coins, 2, 2).n_correct == 4 - guess(scores, ids, coins, 2, 2).n_correct
    )


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(DataError, match="fewer canaries"):
        guess(np.array([1.0, np.nan]), ["a", "b"], np.array([True, False]), 1, 1)
    with pytest.raises(DataError, match="right: 5"):
        epsilon_lower_bound(n_guesses=4, n_correct=5, m=10)
    with pytest.raises(DataError, match="guesses: 0"):
        epsilon_lower_bound(n_guesses=0, n_correct=0, m=10)
    with pytest.raises(DataError, match="between 0 and 1"):
        epsilon_lower_bound(n_guesses=4, n_correct=4, m=10, level=1.0)
