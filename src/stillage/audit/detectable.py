"""The smallest shift that a check, and leak that an attack, would have shown.

Nothing found is reassurance only where something would have been found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.blind import N_FOLDS
from stillage.audit.scores import BLIND, Scored, Scores, is_cross_fitted
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
        if not self.is_blind:
            return (
                f"An AUC of {rounded_up(self.smallest)} would have been found ({POWER:.0%} power)."
            )
        seen = (
            "are too few to find anything"
            if math.isnan(self.smallest)
            else f"show only an AUC of {rounded_up(self.smallest)} or more ({POWER:.0%} power)"
        )
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
    cross_fitted: bool = False,
) -> Visible:
    """Return the smallest AUC that the interval of these scores' AUC would have seen.

    At a level; copies count as alike as their scores are.
    """
    n_folds = N_FOLDS if cross_fitted else 0
    both = 0 < int(np.sum(is_member)) < len(is_member)
    alike = within_correlation(scores, is_member, clusters) if both else 1.0
    effect = independent_draws(is_member, clusters, alike).effect
    return Visible(
        smallest=smallest_auc(is_member, clusters, level, n_folds=n_folds, correlation=alike)
        if both
        else math.nan,
        enough=records_to_find(UNDECIDED_ABOVE, level, n_folds=n_folds, effect=effect),
        members=int(np.sum(is_member)),
        nonmembers=int(len(is_member) - np.sum(is_member)),
    )


def worst(sights: Sequence[Visible]) -> Visible:
    """Return the least that all of several tests see."""
    unseen = [sight for sight in sights if math.isnan(sight.smallest)]
    return Visible(
        smallest=math.nan if unseen else max(sight.smallest for sight in sights),
        enough=max(sight.enough for sight in sights),
        members=sights[0].members,
        nonmembers=sights[0].nonmembers,
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
        scored = scores.of(model, attack)
        if model == BLIND or not scored.has_both:
            continue
        alike = within_correlation(scored.scores, scored.is_member, scored.clusters)
        effect = independent_draws(scored.is_member, scored.clusters, alike).effect
        n_folds, n = N_FOLDS if is_cross_fitted(model, attack) else 0, len(scored.scores)
        row = replace(base, model=model, attack=attack, dataset="private vs nonmembers", n=n)
        results.append(
            _row(
                replace(row, metric="detectable_auc", level=levels[model]),
                smallest_auc(
                    scored.is_member,
                    scored.clusters,
                    levels[model],
                    n_folds=n_folds,
                    correlation=alike,
                ),
                records_needed(harmless_auc, levels[model], n_folds=n_folds, effect=effect),
            )
        )
        if fprs:
            fpr, tail = min(fprs), replace(row, level=level)
            results.append(_tail_row(scored, fpr, harmless_tpr, alike, effect, tail))
            results += _family_rate(
                scored, fpr, replace(row, level=levels[model]), harmless_tpr, effect
            )
    return results


def _tail_row(
    scored: Scored, fpr: float, harmless: float, alike: float, effect: float, row: Result
) -> Result:
    """Return the detectable_tpr of one attack."""
    smallest = smallest_tpr(scored.is_member, fpr, scored.clusters, row.level, correlation=alike)
    needed = records_for_tpr(harmless, fpr, row.level, effect=effect)
    return _row(replace(row, metric="detectable_tpr"), smallest, needed, fpr)


def _family_rate(
    scored: Scored, fpr: float, row: Result, harmless: float, effect: float
) -> list[Result]:
    """Return the share found, with limits that hold for all attacks together.

    No row where too few nonmembers allow the rate.
    """
    try:
        rate = tpr_at_fpr(scored.scores, scored.is_member, fpr, row.level, clusters=scored.clusters)
    except UserError:
        return []
    needed = records_for_tpr(harmless, fpr, row.level, effect=effect)
    named = replace(row, metric="family_tpr", low=rate.low, high=rate.high, n=rate.n)
    return [_row(named, rate.value, needed, fpr)]


def _row(row: Result, value: float, needed: float, fpr: float = math.nan) -> Result:
    """Fill in what would be found and the records needed, or why nothing would be."""
    why = "too few records to find anything" if math.isnan(value) else ""
    enough = round(needed) if needed < math.inf else 0
    note = "" if enough else "no number of records would do"
    return replace(row, value=value, fpr=fpr, needed=enough, reason=why, note=note)


def rounded_up(auc: float) -> str:
    """Round upwards to two digits, so that no smaller AUC is promised."""
    return f"{math.ceil(auc * 100 - 1e-6) / 100:.2f}"
