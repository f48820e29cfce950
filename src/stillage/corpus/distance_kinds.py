"""The distances that a scan knows, and which pieces of text it measures."""

from __future__ import annotations

from typing import Literal

Metric = Literal["levenshtein", "hamming", "both"]
Mode = Literal["window", "substring"]
METRICS = ("levenshtein", "hamming")
"""Distances by their numbers: that of a row in a table, and of a bit where both are asked for."""


def metric_bits(metric: Metric) -> int:
    """The distances of a search, as bits."""
    return sum(1 << number for number, name in enumerate(METRICS) if metric in (name, "both"))
