"""Values and refusals of single attacks that hold for no other: windows, degenerate distributions, empty texts."""

from __future__ import annotations

import math
from zlib import compress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.audit.attacks.lowercase import lowercase
from stillage.audit.attacks.min_k import min_k
from stillage.audit.attacks.min_k_plus_plus import min_k_plus_plus
from stillage.audit.attacks.mope import mope
from stillage.audit.attacks.neighbour import neighbour
from stillage.audit.attacks.recall import recall
from stillage.audit.attacks.reference import reference_per_byte
from stillage.audit.attacks.zlib_ratio import zlib
from stillage.errors import ConfigError, DataError
from stillage.functional.tails import mean_of_lowest
from stillage.types import TokenStats

nats = st.floats(-30, 0)


def stats(
    logp: list[float], mean: list[float] | None = None, var: list[float] | None = None
) -> TokenStats:
    n = len(logp)
    zeros = np.zeros(n, np.int32)
    return TokenStats(
        ids_T=zeros,
        logp_T=np.array(logp, np.float32),
        mean_T=np.array(mean or [-2.0] * n, np.float32),
        var_T=np.array([1.0] * n if var is None else var, np.float32),
        rank_T=zeros,
        greedy_T=zeros == 0,
    )


@given(
    st.lists(nats, min_size=1, max_size=30),
    st.floats(0.01, 1),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_tail_is_the_mean_of_sorted_windows(
    values: list[float], fraction: float, window: int, stride: int
) -> None:
    window_means = [
        float(np.mean(values[i : i + window]))
        for i in range(0, max(1, len(values) - window + 1), stride)
    ]
    m = max(1, math.ceil(fraction * len(window_means) - 1e-9))
    expected = np.mean(sorted(window_means)[:m])
    assert mean_of_lowest(
        np.array(values), fraction, window=window, stride=stride
    ) == pytest.approx(expected, abs=1e-9)
    assert mean_of_lowest(np.array(values), count=99) == pytest.approx(np.mean(values), abs=1e-9)
    assert mean_of_lowest(np.array(values), fraction, count=0) == mean_of_lowest(
        np.array(values), fraction
    )


@pytest.mark.parametrize(
    "options", [{"fraction": 0.0}, {"fraction": 1.5}, {"count": -1}, {"window": 0}, {"stride": 0}]
)
def test_an_empty_tail_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="at least one value"):
        mean_of_lowest(np.ones(3), **options)


@given(st.lists(nats, min_size=1, max_size=20), st.integers(0, 19))
def test_min_k_plus_plus_is_monotone_in_the_true_token(values: list[float], place: int) -> None:
    better = list(values)
    better[place % len(values)] /= 2
    assert min_k_plus_plus(stats(better)) >= min_k_plus_plus(stats(values)) - 1e-6


def test_min_k_plus_plus_on_degenerate_distributions() -> None:
    certain = stats([0.0] * 5, [0.0] * 5, [0.0] * 5)
    uniform = stats([-math.log(50)] * 5, [-math.log(50)] * 5, [0.0] * 5)
    assert min_k_plus_plus(certain) == min_k_plus_plus(uniform) == 0
    assert math.isfinite(min_k_plus_plus(stats([-20.0] * 5, [-1e-6] * 5, [0.0] * 5)))
    argmax = stats([-0.01], [-0.056], [0.21])  # q = (.99, .01): the argmax is never below the mean
    assert min_k_plus_plus(argmax) > 0


def test_zlib_divides_by_the_compressed_bytes_of_the_record() -> None:
    text = "année 日本 " * 9
    assert zlib(stats([-1.0, -3.0]), text) == pytest.approx(-2 / len(compress(text.encode())))
    for score in (
        lambda: zlib(stats([-1.0]), ""),
        lambda: reference_per_byte(stats([-1.0]), stats([-1.0]), ""),
    ):
        with pytest.raises(DataError, match="empty text"):
            score()


def test_reference_per_byte_counts_bytes_and_sums_over_any_tokens() -> None:
    assert reference_per_byte(
        stats([-1.0, -2.0]), stats([-3.0, -1.0, -5.0]), "日本"
    ) == pytest.approx((-3 + 9) / 6)


def test_scores_that_compare_two_readings_of_a_record() -> None:
    record, worse, better = stats([-1.0, -2.0]), stats([-4.0, -4.0, -1.0]), stats([-0.5, -0.5])
    assert lowercase(record, worse) == pytest.approx(1.5) and lowercase(record, record) == 0
    for score in (neighbour, mope):
        assert score(record, [worse, better]) == pytest.approx(-1.5 - (-3 - 0.5) / 2)
        assert math.isnan(score(record, []))
    for logp in (
        [-0.1, -0.7],
        [-1 / 3] * 3,
        [-2.7182818, -0.3, -11.1],
    ):  # noise of size 0, copies that are the record
        assert (
            mope(stats(logp), [stats(logp)] * 10) == neighbour(stats(logp), [stats(logp)] * 7) == 0
        )
    assert recall(record, better) == pytest.approx(0.5 / 1.5)
    assert recall(record, stats([-1.5, -1.5])) > recall(
        record, better
    )  # a prefix helps on what is NOT known
    assert math.isnan(recall(stats([0.0]), stats([0.0])))
    with pytest.raises(DataError, match="which tokens are scored"):
        recall(record, worse)
    assert min_k(stats([-9.0, -1.0, -2.0]), count=2) == pytest.approx(-5.5)
    plain = stats([-9.0, -1.0, -2.0])
    z_T = (plain.logp_T - plain.mean_T) / np.sqrt(plain.var_T)
    assert min_k_plus_plus(plain, count=2) == pytest.approx(np.sort(z_T)[:2].mean())
    assert min_k_plus_plus(plain, count=1, window=2) == pytest.approx(
        min(z_T[:2].mean(), z_T[1:].mean())
    )
