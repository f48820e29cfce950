"""The smallest shift that a check, and leak that an attack, would have shown.

Nothing found is reassurance only where something would have been found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.scores import BLIND, Scores
from stillage.errors import UserError
from stillage.functional.power import (
    POWER,
    independent_draws,
    records_for_tpr,
    records_needed,
    records_to_find,
    smallest_auc,
    smallest_tpr,
    within_correlation,
)
from stillage.functional.stats import tpr_at_fpr
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

UNDECIDED_ABOVE = 0.75
"""A check that sees nothing below this AUC vouches for nothing.

Three times in four a member then stands above a nonmember (means 0.95 standard deviations apart):
a reader sees such a shift in the files themselves.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visible:
    """How little a test of AUC = 0.5 would have seen."""

    smallest: float  # AUC found with a power of 0.8; NaN: none
    enough: int  # records of each side with which it sees UNDECIDED_ABOVE
    members: int
    nonmembers: int

    @property
    def is_blind(self) -> bool:
        """Whether it is so little that passing says nothing."""
        return not self.smallest <= UNDECIDED_ABOVE

    @property
    def shown(self) -> float | str:
        """The smallest AUC, as a value of a check."""
        return "none" if math.isnan(self.smallest) else self.smallest

    @property
    def words(self) -> str:
        """The sentence that belongs behind a check that passed."""
        power = f"({POWER:.0%} power)"
        if not self.is_blind:
            return f"An AUC of {rounded_up(self.smallest)} would have been found {power}."
        seen = "are too few to find anything"
        if not math.isnan(self.smallest):
            seen = f"show only an AUC of {rounded_up(self.smallest)} or more {power}"
        return (
            f"{self.members} members and {self.nonmembers} nonmembers {seen}: this check "
            f"needs {self.enough} of each."
        )

    @property
    def values(self) -> dict[str, float | str]:
        """What the check keeps of it."""
        return {
            "smallest AUC found": self.shown,
            "members": self.members,
            "nonmembers": self.nonmembers,
            "needed of each": self.enough,
        }


def sight_of(
    scores: Array,
    is_member: Array,
    level: float,
    *,
    clusters: Array | None = None,
    n_folds: int = 0,
) -> Visible:
    """Return the smallest AUC that the interval of these scores' AUC would have seen.

    At a level; copies count as alike as their scores are. n_folds: as in stats.auc_interval.
    """
    members, alike, smallest = int(np.sum(is_member)), 1.0, math.nan
    if 0 < members < len(is_member):
        alike = within_correlation(scores, is_member, clusters)
        smallest = smallest_auc(is_member, clusters, level, n_folds=n_folds, correlation=alike)
    effect = independent_draws(is_member, clusters, alike).effect
    return Visible(
        smallest=smallest,
        enough=records_to_find(UNDECIDED_ABOVE, level, n_folds=n_folds, effect=effect),
        members=members,
        nonmembers=len(is_member) - members,
    )


def worst(sights: Sequence[Visible]) -> Visible:
    """Return the least that all of several tests see."""
    smallest = [sight.smallest for sight in sights]
    return replace(
        sights[0],
        smallest=math.nan if any(map(math.isnan, smallest)) else max(smallest),
        enough=max(sight.enough for sight in sights),
    )


def power_results(
    table: pa.Table,
    levels: Mapping[str, float],
    *,
    fprs: Sequence[float],
    harmless_auc: float,
    harmless_tpr: float,
    level: float,
    base: Result,
) -> list[Result]:
    """Return detectable_auc, detectable_tpr and family_tpr of all attacks and models.

    table: audit/scores.parquet. levels: model -> the level at which the limits of all its attacks
    hold together (best_attack.family_tests). detectable_tpr: at `level`, at the lowest of fprs.
    family_tpr: the share found there, with limits at the level of levels. needed: the records of
    each side with which a model at chance would be shown harmless (an upper limit below
    harmless_auc, harmless_tpr) with a power of 0.8. No row where an attack has no score for
    members, or for nonmembers, nor a family_tpr where too few nonmembers allow the rate.
    """
    results: list[Result] = []
    scores = Scores(table)
    for model, attack in scores.pairs:
        one = scores.of(model, attack)
        if model == BLIND or not one.has_both:
            continue
        together, folds, clusters = levels[model], one.n_folds, one.clusters
        alike = within_correlation(one.scores, one.is_member, clusters)
        effect = independent_draws(one.is_member, clusters, alike).effect
        row = replace(base, model=model, attack=attack, dataset="private vs nonmembers")
        row = replace(row, n=len(one.scores), level=together)
        auc = smallest_auc(one.is_member, clusters, together, n_folds=folds, correlation=alike)
        needed = records_needed(harmless_auc, together, n_folds=folds, effect=effect)
        results.append(_filled(replace(row, metric="detectable_auc"), auc, needed))
        if not fprs:
            continue
        fpr = min(fprs)
        tail = replace(row, metric="detectable_tpr", fpr=fpr, level=level)
        tpr = smallest_tpr(one.is_member, fpr, clusters, level, correlation=alike)
        needed = records_for_tpr(harmless_tpr, fpr, level, effect=effect)
        results.append(_filled(tail, tpr, needed))
        try:
            rate = tpr_at_fpr(one.scores, one.is_member, fpr, together, clusters=clusters)
        except UserError:
            continue
        found = replace(row, metric="family_tpr", fpr=fpr, low=rate.low, high=rate.high, n=rate.n)
        needed = records_for_tpr(harmless_tpr, fpr, together, effect=effect)
        results.append(_filled(found, rate.value, needed))
    return results


def _filled(row: Result, value: float, needed: float) -> Result:
    """Fill in what would be found and the records needed, or why nothing would be."""
    why = "too few records to find anything" if math.isnan(value) else ""
    enough = round(needed) if needed < math.inf else 0
    note = "" if enough else "no number of records would do"
    return replace(row, value=value, needed=enough, reason=why, note=note)


def rounded_up(auc: float) -> str:
    """Round upwards to two digits, so that no smaller AUC is promised."""
    return f"{math.ceil(auc * 100 - 1e-6) / 100:.2f}"
