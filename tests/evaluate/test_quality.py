"""Perplexity, bits per byte and their intervals against direct computation and simulation."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from stillage.evaluate.quality import likelihood_results
from stillage.functional.means import ratio_interval
from stillage.functional.stats import mean_interval
from stillage.types import END, Result, Span, TokenStats

BASE = Result(run="", stage="evaluate", model="", metric="", value=math.nan)


def stats(logp_T: np.ndarray) -> TokenStats:
    n = len(logp_T)
    zeros = np.zeros(n, np.float32)
    return TokenStats(
        ids_T=np.zeros(n, np.int32),
        logp_T=logp_T.astype(np.float32),
        mean_T=zeros,
        var_T=zeros,
        rank_T=np.zeros(n, np.int32),
        greedy_T=np.zeros(n, bool),
    )


def test_perplexity_is_over_tokens_and_bits_are_over_bytes() -> None:
    logp = [np.log([0.5, 0.25]), np.log([0.125])]
    found = {
        r.metric: r
        for r in likelihood_results(
            {"m": [stats(x) for x in logp]}, ["ab", "é"], level=0.95, base=BASE
        )
    }
    assert found["perplexity"].value == pytest.approx(2 ** (6 / 3))
    assert found["bits_per_byte"].value == pytest.approx(6 / 4)
    assert found["perplexity"].low < found["perplexity"].value < found["perplexity"].high


def test_bits_are_of_the_bytes_that_all_models_read() -> None:
    """Three records: one read whole by both, one cut at other places, one after unlike parts of its prompt."""
    whole, part, prompt = [0, 2, 4, END], [0, 2, 4], (3, 9)
    own = [read(whole, 1.0), read(whole, 2.0), read(whole, 99.0)]
    other = [read([0, 1, 4, END], 3.0), read(part, 4.0), read(whole, 99.0, prompt)]
    found = likelihood_results(
        {"a": own, "b": other}, ["éabc", "wxyz and more", "1234"], level=0.95, base=BASE
    )
    bits = {(r.model, r.metric): r for r in found}
    assert bits["a", "bits_per_byte"].value == pytest.approx((3 * 1 + 2 * 2) / np.log(2) / (5 + 4))
    assert bits["b", "bits_per_byte"].value == pytest.approx((3 * 3 + 2 * 4) / np.log(2) / (5 + 4))
    assert (
        bits["a", "perplexity"].value == pytest.approx(np.exp(7 / 5))
        and bits["a", "perplexity"].n == 2
    )
    assert all("read of 1 responses" in r.note and r.missing == 1 for r in found)


def read(borders: list[int], nats: float, left_out: tuple[int, int] = (0, 0)) -> TokenStats:
    span = Span(bounds_N=np.array(borders, np.int32), left_out=left_out)
    return replace(stats(np.full(len(borders) - 1, -nats)), span=span)


def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(0)
    hits = {"mean": 0, "ratio": 0}
    for _ in range(600):
        tokens = rng.integers(5, 60, 80)
        nats = np.array([rng.exponential(2.0, n).sum() for n in tokens])
        hits["ratio"] += ratio_interval(nats, tokens.astype(float), 0.95).contains(2.0)
        hits["mean"] += mean_interval(rng.exponential(1.0, 80), 0.95).contains(1.0)
    assert 0.91 <= hits["ratio"] / 600 <= 0.98 and 0.90 <= hits["mean"] / 600 <= 0.98


def test_one_record_has_no_interval() -> None:
    mean = mean_interval(np.array([0.3]), 0.95)
    assert mean.value == 0.3 and math.isnan(mean.low) and math.isnan(mean.high)
    assert math.isnan(ratio_interval(np.array([]), np.array([]), 0.95).value)
