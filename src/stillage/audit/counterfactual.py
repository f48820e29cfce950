"""How much better models know a record that they met: counterfactual memorization.

mem(x) = E[M(x) | x in the training set] - E[M(x) | x not in it], M any score of one record under
one model. The models are pipelines trained on random halves drawn in advance (the design); easy
records come out at 0. Zhang et al. 2023, arXiv:2112.12938, definition 1; Feldman and Zhang 2020.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.types import Array

CHUNK = 2**24  # numbers held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactual:
    """Memorization of N records, each with its interval over models, and their mean."""

    value_N: Array  # NaN where a record is IN all models, or in none
    low_N: Array
    high_N: Array
    n_in_N: Array  # models that met the record
    n_out_N: Array
    mean: Interval  # over the records with a value


def counterfactual_memorization(
    scores_MN: Array,
    is_in_MN: Array,
    generator: np.random.Generator,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
) -> Counterfactual:
    """Return mem per record with a bootstrap interval over models.

    scores [models, records], is_in: the design, same shape. Models are drawn with replacement,
    whole (so that their records move together). A bootstrap of K models is too narrow by sqrt((K -
    1) / K), and by the ratio of Student's quantile to the normal one; the percentile limits are
    stretched by both (Hesterberg 2015, section 5.3), K the smaller of the two sides. A record needs
    two models on each side for limits. DataError for NaN, or shapes that do not fit.
    """
    scores, is_in = np.asarray(scores_MN, dtype=np.float64), np.asarray(is_in_MN, dtype=bool)
    n_nan = int(np.isnan(scores).sum())
    if scores.ndim != 2 or scores.shape != is_in.shape or n_nan:
        raise DataError(
            "Counterfactual memorization needs a score of every record under every model.",
            f"scores {scores.shape}, design {is_in.shape}, {n_nan} NaN",
            "Give both as [models, records], in the same order.",
        )
    n_models, n = scores.shape
    draws_RM = generator.multinomial(n_models, np.full(n_models, 1 / n_models), size=n_resamples)
    value_N = _differences(np.ones((1, n_models)), scores, is_in)[0]
    n_in_N, n_out_N = is_in.sum(0), (~is_in).sum(0)
    fewer_N = np.minimum(n_in_N, n_out_N)
    low_N, high_N = np.full(n, math.nan), np.full(n, math.nan)
    sum_R, count_R = np.zeros(n_resamples), np.zeros(n_resamples)
    step = max(1, CHUNK // n_resamples)
    for start in range(0, n, step):
        part = slice(start, start + step)
        drawn_RN = _differences(draws_RM, scores[:, part], is_in[:, part])
        sum_R += np.nansum(drawn_RN, axis=1)
        count_R += np.isfinite(drawn_RN).sum(axis=1)
        low_N[part], high_N[part] = _limits(value_N[part], drawn_RN, fewer_N[part], level)
    defined = np.isfinite(value_N)
    mean = float(value_N[defined].mean()) if defined.any() else math.nan
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn_R1 = (sum_R / count_R)[:, None]
    smallest = np.array([int(np.median(fewer_N)) if n else 0])
    low, high = _limits(np.array([mean]), drawn_R1, smallest, level)
    return Counterfactual(
        value_N=value_N,
        low_N=low_N,
        high_N=high_N,
        n_in_N=n_in_N,
        n_out_N=n_out_N,
        mean=Interval(value=mean, low=float(low[0]), high=float(high[0]), level=level),
    )


def _differences(weights_RM: Array, scores_MN: Array, is_in_MN: Array) -> Array:
    """Mean over IN minus OUT models per weighting, [R, N]; NaN where a side is empty."""
    inside = is_in_MN.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_in = weights_RM @ (scores_MN * inside) / (weights_RM @ inside)
        mean_out = weights_RM @ (scores_MN * (1 - inside)) / (weights_RM @ (1 - inside))
    return mean_in - mean_out


def _limits(value_N: Array, drawn_RN: Array, models_N: Array, level: float) -> tuple[Array, Array]:
    """Percentile limits, stretched for few models; NaN below two models on a side."""
    from scipy.special import ndtri, stdtrit

    alpha = check_level(level)
    fine_N = (models_N >= 2) & np.isfinite(value_N)
    low_N, high_N = np.full(value_N.size, math.nan), np.full(value_N.size, math.nan)
    if fine_N.any():
        k = models_N[fine_N].astype(np.float64)
        stretch = np.sqrt(k / (k - 1)) * stdtrit(k - 1, 1 - alpha / 2) / ndtri(1 - alpha / 2)
        quantiles = np.nanquantile(drawn_RN[:, fine_N], [alpha / 2, 1 - alpha / 2], axis=0)
        low_N[fine_N], high_N[fine_N] = value_N[fine_N] + stretch * (quantiles - value_N[fine_N])
    return low_N, high_N
