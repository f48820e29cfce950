"""LiRA: the target's confidence beside that of models with and without the record.

Carlini et al. 2022, arXiv:2112.03570. The confidence is phi = log(q / (1 - q)), q = exp(mean
log-probability): nearly normal over models, as the likelihoods themselves are not. Here the models
are shadow pipelines.
"""

from __future__ import annotations

import numpy as np

from stillage.functional.moments import Moments, check_shadows, moments, variances
from stillage.types import Array, ShadowAttack

LEAST = 2  # shadows on a side: one has no variance


def lira_online(target_N: Array, shadow_KN: Array, in_KN: Array) -> Array:
    """Log ratio of Gaussian densities of the confidence phi: IN over OUT shadows.

    log N(phi | IN) - log N(phi | OUT), float64[N]. N: the Gaussian with a side's mean and variance
    (algorithm 1). Below 32 shadows on a side, its variance is pooled over the records. NaN for a
    record that has no finite phi, or fewer than two shadows with one on a side. DataError as
    check_shadows.
    """
    check_shadows(target_N, shadow_KN, in_KN, least=LEAST, attack="lira_online")
    phi_N, out_KN = _finite(target_N), ~np.asarray(in_KN)
    inside, outside = moments(shadow_KN, in_KN), moments(shadow_KN, out_KN)
    return _log_normal(phi_N, inside) - _log_normal(phi_N, outside)


def lira_offline(target_N: Array, shadow_KN: Array, in_KN: Array) -> Array:
    """Standard deviations of the confidence phi above the mean of OUT shadows.

    (phi - mean) / standard deviation, float64[N]. One-sided, and no shadow needs the record. Ranks
    as the published 1 - P(Z > phi) does, but does not saturate. Variances and NaN as lira_online.
    """
    check_shadows(target_N, shadow_KN, in_KN, least=LEAST, attack="lira_offline")
    out = moments(shadow_KN, ~np.asarray(in_KN))
    return (_finite(target_N) - _mean(out)) / np.sqrt(variances(out))


def _log_normal(phi_N: Array, side: Moments) -> Array:
    """Return the log-density of phi under each record's Gaussian, up to a constant."""
    variance_N = variances(side)
    return -0.5 * np.log(variance_N) - (phi_N - _mean(side)) ** 2 / (2 * variance_N)


def _mean(side: Moments) -> Array:
    """Return the means; NaN where fewer than two models have a value."""
    return np.where(side.count_N >= LEAST, side.mean_N, np.nan)


def _finite(target_N: Array) -> Array:
    """Return the target's values; NaN for what is infinite."""
    values = np.asarray(target_N, dtype=np.float64)
    return np.where(np.isfinite(values), values, np.nan)


LIRA_ONLINE = ShadowAttack(
    name="lira_online",
    paper="Carlini et al. 2022, arXiv:2112.03570, online, over shadow pipelines",
    statistic="confidence",
    least=LEAST,
    score=lira_online,
)

LIRA_OFFLINE = ShadowAttack(
    name="lira_offline",
    paper="Carlini et al. 2022, arXiv:2112.03570, offline, over shadow pipelines",
    statistic="confidence",
    least=LEAST,
    score=lira_offline,
)
