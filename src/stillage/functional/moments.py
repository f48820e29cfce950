"""Means and variances over the models that a mask chooses, record by record; what shadow attacks are made of."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

FLOOR = 1e-12  # smallest variance: models that agree to the last digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of the chosen finite values of each of N records: how many, their mean, and the sum of squares around it."""

    count_N: Array  # int
    mean_N: Array  # NaN where there is none
    squares_N: Array  # sum of (value - mean)^2


def moments(values_KN: Array, chosen_KN: Array) -> Moments:
    """The moments of each column over the rows that `chosen` marks; values that are not finite count as missing."""
    values = np.asarray(values_KN, dtype=np.float64)
    used = np.asarray(chosen_KN, dtype=bool) & np.isfinite(values)
    count_N, kept = used.sum(axis=0), np.where(used, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_N = kept.sum(axis=0) / count_N
    squares_N = (np.where(used, values - mean_N, 0.0) ** 2).sum(axis=0)
    return Moments(count_N=count_N, mean_N=mean_N, squares_N=squares_N)


def without(found: Moments, values_N: Array, had_N: Array) -> Array:
    """The mean float64[N] of each record after one model's value is taken out where `had` says that it was counted."""
    had = np.asarray(had_N, dtype=bool) & np.isfinite(values_N)
    total_N = np.where(found.count_N > 0, found.mean_N, 0.0) * found.count_N - np.where(
        had, values_N, 0.0
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return total_N / (found.count_N - had)


def pooled_variance(found: Moments) -> float:
    """One variance for all records: sum of squares / sum of (count - 1). NaN where no record has two values."""
    free = float(np.maximum(found.count_N - 1, 0).sum())
    return float(found.squares_N.sum()) / free if free else math.nan


def variances(found: Moments, *, least: int = 32) -> Array:
    """The variance float64[N] that a Gaussian of each record gets: its own where it has `least` values, else the pooled one.

    Few values give a variance that is mostly noise (Carlini et al. 2022). Never below 1e-12.
    """
    own_N = found.squares_N / np.maximum(found.count_N - 1, 1)
    return np.maximum(
        np.where(found.count_N >= max(2, least), own_N, pooled_variance(found)), FLOOR
    )


def check_shadows(
    target_N: Array, shadow_KN: Array, in_KN: Array, *, least: int, attack: str
) -> None:
    """DataError unless there is one value per record, one row per shadow, and a design with `least` shadows on each side.

    target [N, ...], shadow [K, N, ...], in bool [K, N]. Shadows that are missing for a record are told by NaN, and judged
    record by record; here the design is.
    """
    target, shadow, is_in = np.asarray(target_N), np.asarray(shadow_KN), np.asarray(in_KN)
    if (
        shadow.shape[1:] != target.shape
        or is_in.shape != shadow.shape[:2]
        or is_in.dtype != np.bool_
    ):
        raise DataError(
            f"The attack {attack} needs the target's value of every record, and each shadow's, and who met what.",
            f"target {target.shape}, shadows {shadow.shape}, design {is_in.shape} of {is_in.dtype}",
            "Give [records], [shadows, records] and a bool[shadows, records], in one order.",
        )
    inside = is_in.sum(axis=0)
    fewest = int(np.minimum(inside, len(is_in) - inside).min(initial=len(is_in)))
    if fewest < least:
        raise DataError(
            f"The attack {attack} needs {least} or more shadows that met a record, and as many that did not.",
            f"{len(is_in)} shadows; a record with {fewest} on one side",
            f"Give --audit.shadows {2 * least} or more.",
        )
