"""Rows of results: an interval fills one, and no mean leaves its metric's range."""

from __future__ import annotations

import math

import pytest

from stillage.evaluate.metric_ranges import RANGES, within_range
from stillage.functional.stats import Interval
from stillage.run.results import measured_row
from stillage.types import Result

BASE = Result(run="r", stage="s", model="m", metric="", value=math.nan, n=7, note="kept")


def test_a_row_takes_its_interval_and_keeps_the_rest() -> None:
    row = measured_row(BASE, "auc", Interval(value=0.7, low=0.6, high=0.8), unit="share")
    assert (row.metric, row.value, row.low, row.high, row.unit) == ("auc", 0.7, 0.6, 0.8, "share")
    assert (row.run, row.model, row.n, row.note) == ("r", "m", 7, "kept")
    assert measured_row(BASE, "auc", Interval(value=0.7), n=0).n == 0


def test_an_interval_without_limits_has_nan_ones() -> None:
    row = measured_row(BASE, "loss", Interval(value=2.0))
    assert row.value == 2.0 and math.isnan(row.low) and math.isnan(row.high)


@pytest.mark.parametrize("metric", [*RANGES, "gold_loss"])
def test_limits_are_cut_to_the_range_of_the_metric(metric: str) -> None:
    least, most = RANGES.get(metric, (-math.inf, math.inf))
    wide = within_range(metric, Interval(value=0.5, low=-200.0, high=200.0))
    assert (wide.low, wide.high) == (max(-200.0, least), min(200.0, most))
    unknown = within_range(metric, Interval(value=0.5))
    assert math.isnan(unknown.low) and math.isnan(unknown.high)
