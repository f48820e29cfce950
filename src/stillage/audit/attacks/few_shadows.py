"""LiRA for few shadows: means and variances under priors pooled over the records.

After BaVarIA (arXiv:2603.11799, of which the abstract alone was read): Student's t, whose tails
carry the doubt about the variance, with a normal-inverse-gamma prior instead of Gaussians. The
prior is fitted by the moments of Smyth 2004 (doi:10.2202/1544-6115.1027).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillage.functional.moments import FLOOR, Moments, check_shadows, moments, pooled_variance
from stillage.types import Array, ShadowAttack

LEAST = 2
CERTAIN = 1e6  # degrees of freedom of a variance that is the same for all records


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """The prior of the mean and the variance of one record's phi over models.

    mean ~ N(centre, variance / weight), variance ~ scaled inverse chi^2 with `freedom` degrees
    around `variance`.
    """

    centre: float
    weight: float  # worth that many models
    variance: float
    freedom: float


def few_shadows(target_N: Array, shadow_KN: Array, in_KN: Array) -> Array:
    """Log ratio of t densities of the confidence phi: IN over OUT shadows.

    log t(phi | IN) - log t(phi | OUT), float64[N]. t: predictive densities under pooled priors.
    With n shadows of mean m and sum of squares S: weight w' = w + n, freedom f' = f + n, centre c'
    = (w c + n m) / w', f' s'^2 = f s^2 + S + w n (m - c)^2 / w', and phi ~ t_{f'}(c', s'^2 (1 + 1 /
    w')). NaN and errors as lira_online.
    """
    check_shadows(target_N, shadow_KN, in_KN, least=LEAST, attack="few_shadows")
    values = np.asarray(target_N, dtype=np.float64)
    phi_N = np.where(np.isfinite(values), values, np.nan)
    sides = [moments(shadow_KN, chosen) for chosen in (in_KN, ~np.asarray(in_KN))]
    inside_N, outside_N = (log_predictive(phi_N, side, fit_prior(side)) for side in sides)
    return inside_N - outside_N


def fit_prior(side: Moments) -> Prior:
    """Fit the prior to the records of one side; neutral where none has two models."""
    from scipy.special import digamma, polygamma

    used = side.count_N >= LEAST
    if not used.any():
        return Prior(centre=0.0, weight=0.0, variance=FLOOR, freedom=1.0)
    pooled = max(pooled_variance(side), FLOOR)
    half = (side.count_N[used] - 1) / 2
    spread = side.squares_N[used] / (2 * half)
    spread = np.maximum(spread, 1e-5 * pooled)  # a variance of 0 has no logarithm
    logs = np.log(spread) - digamma(half) + np.log(half)
    excess = float(logs.var(ddof=1) - polygamma(1, half).mean()) if logs.size > 1 else 0.0
    freedom = min(2 * _inverse_trigamma(excess), CERTAIN) if excess > 0 else CERTAIN
    variance = pooled
    if freedom < CERTAIN:
        variance = math.exp(float(logs.mean() + digamma(freedom / 2)) - math.log(freedom / 2))
    means, between = side.mean_N[used], 0.0
    if means.size > 1:
        between = float(means.var(ddof=1)) - pooled * float((1 / side.count_N[used]).mean())
    weight = pooled / max(between, FLOOR * pooled) if between > 0 else CERTAIN
    return Prior(
        centre=float(means.mean()),
        weight=min(weight, CERTAIN),
        variance=max(variance, FLOOR),
        freedom=freedom,
    )


def log_predictive(phi_N: Array, side: Moments, prior: Prior) -> Array:
    """Return the log-density float64[N] of another model's phi; NaN below two models."""
    from scipy.special import gammaln

    n, fine = side.count_N, side.count_N >= LEAST
    weight, freedom = prior.weight + n, prior.freedom + n
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = (prior.weight * prior.centre + n * side.mean_N) / weight
        shift = prior.weight * n * (side.mean_N - prior.centre) ** 2 / weight
        squares = prior.freedom * prior.variance + side.squares_N + shift
        scale = np.maximum(squares / freedom * (1 + 1 / weight), FLOOR)
        density = (
            gammaln((freedom + 1) / 2)
            - gammaln(freedom / 2)
            - 0.5 * np.log(freedom * math.pi * scale)
            - (freedom + 1) / 2 * np.log1p((phi_N - centre) ** 2 / (freedom * scale))
        )
    return np.where(fine, density, np.nan)


def _inverse_trigamma(value: float) -> float:
    """Solve trigamma(x) = value > 0 by Newton's steps on 1 / trigamma (Smyth 2004, appendix)."""
    from scipy.special import polygamma

    if value > 1e7:
        return 1 / math.sqrt(value)
    if value < 1e-6:
        return 1 / value
    x = 0.5 + 1 / value
    for _ in range(50):
        now = float(polygamma(1, x))
        step = now * (1 - now / value) / float(polygamma(2, x))
        x += step
        if abs(step) < 1e-10 * x:
            break
    return x


FEW_SHADOWS = ShadowAttack(
    name="few_shadows",
    paper="after BaVarIA, arXiv:2603.11799 (abstract); prior fitted as in Smyth 2004",
    statistic="confidence",
    least=LEAST,
    score=few_shadows,
)
