"""Scores and memberships as every statistic of them takes them: float64, one label each, both kinds present, no NaN."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.errors import DataError
from stillage.types import Array


def finite(scores: Array, is_member: Array) -> tuple[Array, Array, int]:
    """The records whose score is a number, and how many were dropped; show that count beside the statistic."""
    scores, is_member = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    kept = np.isfinite(scores)
    return scores[kept], is_member[kept], int((~kept).sum())


def checked(scores: Array, is_member: Array) -> tuple[Array, Array]:
    """Float64 scores and boolean labels of one length, without NaN and with both classes; DataError otherwise."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    if scores.ndim != 1 or scores.shape != labels.shape:
        raise DataError(
            "Scores and membership must be two lists of one length.",
            f"scores {scores.shape}, is_member {labels.shape}",
            "Give one score and one true/false per record.",
        )
    member = labels.astype(bool)
    if labels.dtype != bool and not np.array_equal(member, labels):
        raise DataError(
            "Membership must be true or false for each record.",
            f"found {np.unique(labels)[:5].tolist()}",
            "Use True for members, False for nonmembers.",
        )
    n_nan = int(np.isnan(scores).sum())
    if n_nan:
        raise DataError(
            "Some scores are not numbers, and dropping them silently would bias the result.",
            f"{n_nan} of {scores.size} scores are NaN",
            "Drop them with stats.finite(scores, is_member) and show how many; or find out why the model returns NaN.",
        )
    if member.all() or not member.any():
        raise DataError(
            "Telling members from nonmembers needs both.",
            f"{int(member.sum())} members, {int((~member).sum())} nonmembers",
            "Give records of both kinds.",
        )
    return scores, member


def cluster_groups(clusters: Sequence[int] | Array | None, n: int) -> Array | None:
    """Cluster numbers 0..C-1, one per record; None where each record is its own."""
    if clusters is None:
        return None
    found = np.asarray(clusters)
    if found.shape != (n,):
        raise DataError(
            "One cluster per record is needed.",
            f"{found.shape} for {n} records",
            "Give one per score.",
        )
    return np.unique(found, return_inverse=True)[1]
