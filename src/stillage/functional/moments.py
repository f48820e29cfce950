"""Means and variances over the models that a mask chooses, for shadow attacks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

FLOOR = 1e-12  # smallest variance: models that agree to the last digit


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Count, mean and sum of squares around it of N records' chosen values."""

    count_N: Array  # int
    mean_N: Array  # NaN where there is none
    squares_N: Array  # sum of (value - mean)^2


def moments(values_KN: Array, chosen_KN: Array) -> Moments:
    """Compute each column's moments over the rows that are chosen and finite."""
    values = np.asarray(values_KN, dtype=np.float64)
    used = np.asarray(chosen_KN, dtype=bool) & np.isfinite(values)
    count_N, kept = used.sum(axis=0), np.where(used, values, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean_N = kept.sum(axis=0) / count_N
    squares_N = (np.where(used, values - mean_N, 0.0) ** 2).sum(axis=0)
    return Moments(count_N=count_N, mean_N=mean_N, squares_N=squares_N)


def mean_without(found: Moments, values_N: Array, had_N: Array) -> Array:
    """Compute each record's mean without one model's value, where `had` counted it."""
    had = np.asarray(had_N, dtype=bool) & np.isfinite(values_N)
    total_N = np.where(found.count_N > 0, found.mean_N, 0.0) * found.count_N
    with np.errstate(invalid="ignore", divide="ignore"):
        return (total_N - np.where(had, values_N, 0.0)) / (found.count_N - had)


def pooled_variance(found: Moments) -> float:
    """Compute sum of squares / sum of (count - 1) over all records; NaN for 0 / 0."""
    free = float(np.maximum(found.count_N - 1, 0).sum())
    return float(found.squares_N.sum()) / free if free else math.nan


def variances(found: Moments, *, least: int = 32) -> Array:
    """Choose each record's variance: its own from `least` values on, else pooled.

    Few values give a variance that is mostly noise (Carlini et al. 2022). Never below 1e-12.
    """
    own_N = found.squares_N / np.maximum(found.count_N - 1, 1)
    enough_N = found.count_N >= max(2, least)
    return np.maximum(np.where(enough_N, own_N, pooled_variance(found)), FLOOR)


def check_shadows(
    target_N: Array, shadow_KN: Array, in_KN: Array, *, least: int, attack: str
) -> None:
    """Require one value per record and shadow, and `least` shadows on each side.

    target [N, ...], shadow [K, N, ...], in bool[K, N]: DataError where the design is at fault. A
    shadow that is missing for a record is told by NaN, and judged record by record.
    """
    target, shadow, is_in = np.asarray(target_N), np.asarray(shadow_KN), np.asarray(in_KN)
    fit = shadow.shape[1:] == target.shape and is_in.shape == shadow.shape[:2]
    if not fit or is_in.dtype != np.bool_:
        raise DataError(
            f"The attack {attack} needs the target's value of every record, and each shadow's, "
            "and who met what.",
            f"target {target.shape}, shadows {shadow.shape}, design {is_in.shape} of {is_in.dtype}",
            "Give [records], [shadows, records] and a bool[shadows, records], in one order.",
        )
    inside = is_in.sum(axis=0)
    fewest = int(np.minimum(inside, len(is_in) - inside).min(initial=len(is_in)))
    if fewest < least:
        raise DataError(
            f"The attack {attack} needs {least} or more shadows that met a record, "
            "and as many that did not.",
            f"{len(is_in)} shadows; a record with {fewest} on one side",
            f"Give --audit.shadows {2 * least} or more.",
        )
