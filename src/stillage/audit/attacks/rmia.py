"""RMIA: how a record's likelihood ratio, target to shadows, ranks among others'.

Zarifzadeh et al. 2024, arXiv:2312.03262. LR(x, z) = [q(x) / p(x)] / [q(z) / p(z)]; score = share of
z with LR >= gamma. q = exp(mean log-probability) under the target, p its mean over shadows, the
population z all other audited records, of either kind: nobody's membership is read.
"""

from __future__ import annotations

import numpy as np

from stillage.functional.moments import check_shadows, mean_without, moments
from stillage.functional.stats import finite, roc_auc
from stillage.types import Array, ShadowAttack

OFFLINE_A = tuple(round(0.1 * step, 1) for step in range(11))  # the grid of the published code


def rmia(target_N: Array, shadow_KN: Array, in_KN: Array, *, gamma: float = 1.0) -> Array:
    """Share of other records with no higher likelihood ratio to IN and OUT shadows.

    Online: p(x) = (mean of q over IN shadows + mean over OUT shadows) / 2; float64[N] in [0, 1].
    target, shadows: mean log-probabilities. NaN for a record without a finite value of the target's
    and one of each side's. DataError as check_shadows.
    """
    check_shadows(target_N, shadow_KN, in_KN, least=1, attack="rmia")
    inside, outside = _means(shadow_KN, in_KN), _means(shadow_KN, ~np.asarray(in_KN))
    return _share_beaten(_log_ratio(target_N, (inside + outside) / 2), gamma)


def rmia_offline(target_N: Array, shadow_KN: Array, in_KN: Array, *, gamma: float = 1.0) -> Array:
    """Share of other records with no higher likelihood ratio to OUT shadows alone.

    Offline: p(x) = ((1 + a) m + (1 - a)) / 2 with m the mean of q over OUT shadows; no shadow needs
    the record. a in [0, 1] is chosen on the shadows alone: each is attacked as if it were the
    target (offline_a). Otherwise as rmia.
    """
    check_shadows(target_N, shadow_KN, in_KN, least=2, attack="rmia_offline")
    outside = _means(shadow_KN, ~np.asarray(in_KN))
    corrected = _corrected(outside, offline_a(shadow_KN, in_KN))
    return _share_beaten(_log_ratio(target_N, corrected), gamma)


def offline_a(shadow_KN: Array, in_KN: Array) -> float:
    """Choose a of 0, 0.1 ... 1 with the highest mean AUC of attacks on the shadows.

    Every shadow is attacked by means of the others. Ties: the lowest; 1/2 where no shadow can be
    attacked.
    """
    shadow, is_in = np.asarray(shadow_KN, dtype=np.float64), np.asarray(in_KN, dtype=bool)
    out = moments(np.exp(shadow), ~is_in)
    totals = np.zeros(len(OFFLINE_A))
    for logq_N, in_N in zip(shadow, is_in, strict=True):
        others_N = mean_without(out, np.exp(logq_N), ~in_N)
        for place, a in enumerate(OFFLINE_A):
            scores, member, _ = finite(_log_ratio(logq_N, _corrected(others_N, a)), in_N)
            if member.any() and not member.all():
                totals[place] += roc_auc(scores, member)
    return OFFLINE_A[int(totals.argmax())] if totals.any() else 0.5


def _means(shadow_KN: Array, chosen_KN: Array) -> Array:
    """Return the mean of q = exp(log-probability) over the chosen shadows, [N]."""
    return moments(np.exp(np.asarray(shadow_KN, dtype=np.float64)), chosen_KN).mean_N


def _corrected(outside_N: Array, a: float) -> Array:
    """Return p(x) from OUT shadows alone."""
    return ((1 + a) * outside_N + (1 - a)) / 2


def _log_ratio(logq_N: Array, reference_N: Array) -> Array:
    """Return log(q(x) / p(x)); NaN where either is missing."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_N = np.asarray(logq_N, dtype=np.float64) - np.log(reference_N)
    return np.where(np.isfinite(ratio_N), ratio_N, np.nan)


def _share_beaten(ratio_N: Array, gamma: float) -> Array:
    """Return the share of others z with ratio(x) - ratio(z) >= log gamma; NaN stays."""
    known = np.isfinite(ratio_N)
    ordered = np.sort(ratio_N[known])
    scores = np.full(ratio_N.size, np.nan)
    if ordered.size > 1:
        beaten = np.searchsorted(ordered, ratio_N[known] - np.log(gamma), side="right")
        scores[known] = (beaten - (gamma <= 1)) / (ordered.size - 1)  # x itself is no z
    return scores


RMIA = ShadowAttack(
    name="rmia",
    paper="Zarifzadeh et al. 2024, arXiv:2312.03262, online, over shadow pipelines",
    statistic="log_probability",
    least=1,
    score=rmia,
)

RMIA_OFFLINE = ShadowAttack(
    name="rmia_offline",
    paper="Zarifzadeh et al. 2024, arXiv:2312.03262, offline, over shadow pipelines",
    statistic="log_probability",
    least=2,
    score=rmia_offline,
)
