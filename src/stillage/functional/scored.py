"""Scores and memberships as statistics take them, and the records' clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.errors import DataError
from stillage.types import Array

Clusters = Sequence[int] | Array | None
"""A number for each record; near-duplicates share one and count once. None: each record alone."""


def finite(scores: Array, is_member: Array) -> tuple[Array, Array, int]:
    """Keep the records whose score is a number; count the others, to show beside it."""
    scores, is_member = np.asarray(scores, dtype=np.float64), np.asarray(is_member)
    kept = np.isfinite(scores)
    return scores[kept], is_member[kept], int((~kept).sum())


def checked_scores(scores: Array, is_member: Array) -> tuple[Array, Array]:
    """Return float64 scores and boolean labels; DataError for NaN or a missing class."""
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
    if n_nan := int(np.isnan(scores).sum()):
        raise DataError(
            "Some scores are not numbers, and dropping them silently would bias the result.",
            f"{n_nan} of {scores.size} scores are NaN",
            "Drop them with stats.finite(scores, is_member) and show how many; "
            "or find out why the model returns NaN.",
        )
    if member.all() or not member.any():
        raise DataError(
            "Telling members from nonmembers needs both.",
            f"{int(member.sum())} members, {int((~member).sum())} nonmembers",
            "Give records of both kinds.",
        )
    return scores, member


def cluster_groups(clusters: Clusters, n: int) -> Array:
    """Number the clusters of n records from 0 on; without any each is its own."""
    if clusters is None:
        return np.arange(n)
    given = np.asarray(clusters)
    if given.shape != (n,):
        raise DataError(
            "One cluster per record is needed.", f"{given.shape} for {n} records", "Give one each."
        )
    return np.unique(given, return_inverse=True)[1]
