"""Exact intervals for counted proportions, and the Interval every statistic returns."""

from __future__ import annotations

from dataclasses import dataclass

from stillage.errors import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate and the limits that contain the truth in `level` of all repetitions."""

    value: float
    low: float
    high: float
    level: float = 0.95

    def contains(self, truth: float) -> bool:
        """Whether `truth` lies between the limits, ends included."""
        return self.low <= truth <= self.high


def clopper_pearson(count: int, n: int, level: float = 0.95) -> Interval:
    """The exact interval of a proportion of which `count` of `n` were seen; it covers at least `level`, never less.

    low = Beta^-1(alpha/2; k, n-k+1), high = Beta^-1(1-alpha/2; k+1, n-k), alpha = 1 - level.
    DataError when n < 1 or count is not in 0..n. Source: Clopper and Pearson 1934.
    """
    if n < 1 or not 0 <= count <= n:
        raise DataError(
            "A proportion needs at least one record, and a count between 0 and their number.",
            f"count = {count}, n = {n}",
            "Check that the records reached the metric.",
        )
    from scipy.special import betaincinv

    alpha = check_level(level)
    low = 0.0 if count == 0 else float(betaincinv(count, n - count + 1, alpha / 2))
    high = 1.0 if count == n else float(betaincinv(count + 1, n - count, 1 - alpha / 2))
    return Interval(value=count / n, low=low, high=high, level=level)


def check_level(level: float) -> float:
    """1 - level; DataError unless 0 < level < 1."""
    if not 0 < level < 1:
        raise DataError(
            "The level of an interval must lie between 0 and 1.", f"level = {level}", "Use a level such as 0.95."
        )
    return 1 - level
