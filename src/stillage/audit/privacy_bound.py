"""One training run as an audit of differential privacy: a lower bound on epsilon.

Each of m canaries was put into the training data by its own fair coin; from the model alone, r of
them are guessed in or out, the rest left open. Under (epsilon, delta)-differential privacy hardly
more guesses can be right than of r coins that show the truth with probability e^epsilon / (1 +
e^epsilon). Steinke, Nasr and Jagielski 2023, arXiv:2305.08846, theorem 5.2. How many to guess is
fixed before anything is seen: choosing it afterwards breaks the level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import check_level
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

MOST = 50.0  # of a finite number of guesses no larger epsilon can be read


@dataclass(frozen=True, slots=True, kw_only=True)
class Guessed:
    """What was guessed of the canaries, and how often rightly."""

    n_guesses: int
    n_correct: int
    m: int  # canaries, guessed or left open


def p_value(epsilon: float, *, n_guesses: int, n_correct: int, m: int, delta: float) -> float:
    """Bound the chance that (epsilon, delta)-private training lets so many be right.

    f(v) + 2 m delta max_i (f(v - i) - f(v)) / i over i = 1 .. m, at most 1, with
    f(v) = P[Binomial(r, e^epsilon / (1 + e^epsilon)) >= v]. It rises with epsilon wherever
    2 m delta <= 1: each i adds (1 - c / i) f(v) + (c / i) f(v - i) with c <= 1.
    """
    from scipy.special import bdtrc

    if n_correct <= 0:
        return 1.0
    right, counts = 1.0 / (1.0 + math.exp(-epsilon)), np.arange(n_correct, -1.0, -1.0)
    at_least = bdtrc(counts - 1, n_guesses, right)  # f(v), f(v - 1), ..., f(0)
    at_least[-1] = 1.0
    steps = np.arange(1, n_correct + 1)  # beyond v nothing is added to f(0) - f(v), and i grows
    slack = float(np.max((at_least[1:] - at_least[0]) / steps)) if delta > 0 else 0.0
    return min(1.0, float(at_least[0]) + 2 * m * delta * slack)


def epsilon_lower_bound(
    *, n_guesses: int, n_correct: int, m: int, delta: float = 0.0, level: float = 0.95
) -> float:
    """Return the epsilon below which the training cannot have been private; 0: none.

    With one-sided confidence `level`: the smallest epsilon whose `p_value` reaches 1 - level. Where
    2 m delta > 1 the theorem says nothing, and it is 0. DataError for counts that cannot be, or no
    guess at all.
    """
    alpha = check_level(level)
    if not 0 <= n_correct <= n_guesses <= m or n_guesses < 1:
        raise DataError(
            "Of the canaries some are guessed, and of the guesses some are right.",
            f"canaries: {m}, guesses: {n_guesses}, right: {n_correct}",
            "Check the counts.",
        )
    counts = {"n_guesses": n_guesses, "n_correct": n_correct, "m": m, "delta": delta}
    if 2 * m * delta > 1 or p_value(0.0, **counts) >= alpha:
        return 0.0
    low, high = 0.0, MOST
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if p_value(middle, **counts) < alpha else (low, middle)
    return low


def guess(scores: Array, ids: Sequence[str], is_in: Array, k_in: int, k_out: int) -> Guessed:
    """Call the k_in highest scores in and the k_out lowest out, and count the right.

    scores: higher = likelier in. Ties go by id, which knows nothing of the coins; a record without
    a score is left open. DataError where fewer canaries have a score than are to be guessed.
    """
    scores, is_in = np.asarray(scores, dtype=np.float64), np.asarray(is_in, dtype=bool)
    known = np.flatnonzero(np.isfinite(scores))
    if k_in < 0 or k_out < 0 or not 0 < k_in + k_out <= known.size:
        raise DataError(
            "There are fewer canaries with a score than guesses to make.",
            f"canaries: {scores.size}, with a score: {known.size};"
            f" guesses fixed in advance: {k_in} in, {k_out} out",
            "Fix fewer guesses (audit.dp_guesses), or audit more records"
            " (audit.max_records 0 takes all).",
        )
    order = sorted(known.tolist(), key=lambda index: (scores[index], ids[index]))
    inside, outside = order[len(order) - k_in :], order[:k_out]
    right = int(is_in[inside].sum()) + int((~is_in[outside]).sum())
    return Guessed(n_guesses=k_in + k_out, n_correct=right, m=scores.size)


def canary_schema() -> pa.Schema:
    """Give the columns of dp/canaries.parquet."""
    import pyarrow as pa

    names = [("model", pa.string()), ("id", pa.string())]
    return pa.schema([*names, ("is_in", pa.bool_()), ("score", pa.float64())])
