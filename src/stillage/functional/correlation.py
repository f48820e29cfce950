"""Spearman's rank correlation, and how much each record moves it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from stillage.types import Array


def rank_correlation(left_N: Array, right_N: Array) -> tuple[float, Array]:
    """Compute Spearman's correlation of mid-ranks, and each record's influence on it.

    With F and G the mid-distribution functions, u = F(x) - 1/2, v = G(y) - 1/2 and r = E[uv] /
    sqrt(E[u^2] E[v^2]), a record moves E[uv] by u v + E_j[c(x, x_j) v_j] + E_j[c(y, y_j) u_j] and
    E[u^2] by u^2 + 2 E_j[c(x, x_j) u_j], c(a, b) = 1 for a < b, 1/2 for a tie. The variance of r is
    that of the mean influence, float64[N]. NaN where a side is constant. O(N log N). Source:
    Hoeffding 1948; Borkowf 2002.
    """
    left, right = (np.asarray(x, dtype=np.float64) for x in (left_N, right_N))
    n = left.size
    u, push_u = _centred_ranks(left)
    v, push_v = _centred_ranks(right)
    uu, vv, uv = float(u @ u), float(v @ v), float(u @ v)
    if not n or not uu or not vv or math.isnan(uu * vv):
        return math.nan, np.full(n, math.nan)
    r = min(1.0, max(-1.0, uv / math.sqrt(uu * vv)))
    cross = u * v + push_u(v) + push_v(u)
    squares = [
        (side**2 + 2 * push(side)) * n / total
        for side, push, total in ((u, push_u, uu), (v, push_v, vv))
    ]
    influence = cross * n / math.sqrt(uu * vv) - r / 2 * (squares[0] + squares[1])
    return r, influence - influence.mean()


def _centred_ranks(values: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Return mid-ranks / N - 1/2, and weights -> mean over j of c(x_i, x_j) weights_j."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    upto = np.cumsum(counts)
    ranks = ((upto - counts + upto) / 2 / max(1, values.size) - 0.5)[place]

    def push(weights: Array) -> Array:
        at = np.bincount(place, weights, counts.size)
        above = at.sum() - np.cumsum(at) + at / 2
        return above[place] / values.size

    return ranks, push
