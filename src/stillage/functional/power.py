"""What so many records can show, and how many records would show it.

Scores are taken as normal with one variance for members and nonmembers, so that an AUC fixes how
much it scatters. Records that share a cluster count as n / (1 + (s - 1) r) draws: s the size of the
cluster a record finds itself in, on average, and r how alike its scores are (Kish 1965). All is
about one interval of `auc_interval` or `tpr_at_fpr` at a stated level, found with a stated power.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from stillage.functional.binomial import check_level, clopper_pearson
from stillage.functional.delong import fold_factor, placements
from stillage.functional.scored import Clusters, checked_scores, cluster_groups
from stillage.types import Array

POWER = 0.8
"""How often a difference that is there must be found."""
MOST = 10**9
"""More records than this are called none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The independent draws that each side's records amount to, and their clusters."""

    inside: float
    outside: float
    clusters: int  # of the side with fewer
    effect: float  # records per draw, on the side where copies cost more


def independent_draws(
    is_member: Array, clusters: Clusters = None, correlation: float = 1.0
) -> Draws:
    """Count the draws on each side.

    correlation: of scores within a cluster; 1 (copies tell nothing new) is the safe choice where no
    scores are known, else `within_correlation`.
    """
    member = np.asarray(is_member, dtype=bool)
    groups = cluster_groups(clusters, member.size)
    sides = [np.unique(groups[side], return_counts=True)[1] for side in (member, ~member)]
    mean_sizes = [
        float(sizes @ sizes) / float(sizes.sum()) if sizes.size else 1.0 for sizes in sides
    ]
    inside, outside = (1 + (mean_size - 1) * correlation for mean_size in mean_sizes)
    return Draws(
        inside=float(member.sum()) / inside,
        outside=float((~member).sum()) / outside,
        clusters=min(map(len, sides)),
        effect=max(inside, outside),
    )


def within_correlation(scores: Array, is_member: Array, clusters: Clusters) -> float:
    """Estimate how alike the scores of a cluster's records on one side are, 0 to 1.

    The intraclass correlation of the placements (ranks among the other side) from the analysis of
    variance, (B - W) / (B + (m - 1) W), B and W the mean squares between and within clusters, m
    their adjusted mean size. 1 where nothing varies. Errors as roc_auc. Source: Donner 1986.
    """
    scores, member = checked_scores(scores, is_member)
    groups = cluster_groups(clusters, scores.size)
    if int(groups.max()) + 1 == scores.size:
        return 0.0
    # clusters within their side
    side = np.unique(np.stack([groups, member]), axis=1, return_inverse=True)[1].ravel()
    placement = placements(scores, member)[1]
    for kind in (member, ~member):
        placement[kind] -= placement[kind].mean()
    sizes = np.bincount(side).astype(np.float64)
    if sizes.size == scores.size:
        return 0.0
    means = np.bincount(side, placement) / sizes
    within = float(((placement - means[side]) ** 2).sum()) / (scores.size - sizes.size)
    between = float((sizes * means**2).sum()) / max(1, sizes.size - 2)
    size = (scores.size - float((sizes**2).sum()) / scores.size) / max(1, sizes.size - 1)
    whole = between + (size - 1) * within
    return min(1.0, max(0.0, (between - within) / whole)) if whole > 1e-24 else 1.0


def smallest_auc(
    is_member: Array,
    clusters: Clusters = None,
    level: float = 0.95,
    power: float = POWER,
    *,
    n_folds: int = 0,
    correlation: float = 1.0,
) -> float:
    """Find the smallest true AUC whose interval lies above 0.5; NaN for none.

    The least A with logit(A) >= (z_level + z_power) sd(A) / (A (1 - A)), sd of two normal samples
    of `independent_draws` (Bamber 1975); 1 where only perfect separation would be found, as it is
    once the limit (alpha/2)^(1/m) of auc_interval is above 0.5. DataError for a level or power
    outside (0, 1), or clusters that do not fit.
    """
    draws = independent_draws(is_member, clusters, correlation)
    if draws.clusters < 2 or (check_level(level) / 2) ** (1 / draws.clusters) <= 0.5:
        return math.nan
    auc, shared = _grid()
    pairs, others = draws.inside * draws.outside, max(0.0, draws.inside + draws.outside - 2)
    variance = (auc * (1 - auc) + others * shared) / pairs
    noise = np.sqrt(fold_factor(n_folds) * variance)
    found = np.log(auc / (1 - auc)) * auc * (1 - auc) >= _deviations(level, power) * noise
    return float(auc[found.argmax()]) if found.any() else 1.0


def records_to_find(
    auc: float, level: float = 0.95, power: float = POWER, *, n_folds: int = 0, effect: float = 1.0
) -> int:
    """Count the records of each side with which an AUC is found with that power.

    effect: records per draw (`independent_draws`).
    """
    distance = math.log(auc / (1 - auc)) * auc * (1 - auc) / _deviations(level, power)
    return _enough(auc, distance, _pairs_below(0.5, level), n_folds, effect)


def records_needed(
    harmless: float,
    level: float = 0.95,
    power: float = POWER,
    *,
    n_folds: int = 0,
    effect: float = 1.0,
) -> int:
    """Count the records with which chance gets an upper AUC limit below `harmless`."""
    distance = math.log(harmless / (1 - harmless)) / 4 / _deviations(level, power)
    return _enough(0.5, distance, _pairs_below(1 - harmless, level), n_folds, effect)


def smallest_tpr(
    is_member: Array,
    fpr: float,
    clusters: Clusters = None,
    level: float = 0.95,
    power: float = POWER,
    *,
    correlation: float = 1.0,
) -> float:
    """Find the smallest share of members found whose lower limit lies above the rate.

    Of a leak that only the tail shows: some members far above all nonmembers, the others like them.
    Above the rate as asked for, and above the upper limit of what the nonmembers show of it. n* = 1
    / (1 / n_in + (1 - t) f (1 - f) / (t n_out)) draws scatter as the share t itself and a threshold
    for the rate f that n_out nonmembers fix; k of n* must be found, k the least whose
    Clopper-Pearson limit is high enough, and Bin(n*, t) reaches k with that power. NaN where the
    nonmembers are fewer than 3 / fpr, or no number of members would do.
    """
    from scipy.special import betaincinv

    if np.sum(~np.asarray(is_member, dtype=bool)) * fpr < 3 - 1e-9:
        return math.nan
    draws = independent_draws(is_member, clusters, correlation)
    n_out = math.floor(draws.outside + 1e-9)
    shown = clopper_pearson(math.floor(fpr * n_out + 1e-9), n_out, level).high if n_out else 1.0
    bar = max(fpr, shown)

    def reaches(share: float) -> bool:
        noise = (1 - share) * fpr * (1 - fpr) / (share * draws.outside)
        n = math.floor(1 / (1 / draws.inside + noise) + 1e-9) if draws.inside else 0
        count = _first(lambda k: clopper_pearson(k, n, level).low > bar, 1, n) if n else None
        # the share p with P(Bin(n, p) >= count) = power
        return count is not None and float(betaincinv(count, n - count + 1, power)) <= share

    steps = 10_000
    found = _first(lambda step: reaches(step / steps), 1, steps)
    return math.nan if found is None else found / steps


def records_for_tpr(
    harmless: float, fpr: float, level: float = 0.95, power: float = POWER, *, effect: float = 1.0
) -> float:
    """Count the records with which chance gets an upper TPR limit below `harmless`.

    At chance the members above a threshold and the nonmembers who fix it scatter alike: n of each
    say as much about the rate as n / 2 trials. At least 3 / fpr; infinite for harmless at most the
    rate.
    """
    from scipy.special import bdtr

    if harmless <= fpr:
        return math.inf

    def enough(n: int) -> bool:
        over = _first(lambda k: clopper_pearson(k, n // 2, level).high >= harmless, 0, n // 2)
        return over is not None and over > 0 and float(bdtr(over - 1, n // 2, fpr)) >= power

    found = _first(enough, math.ceil(3 / fpr - 1e-9), MOST)
    return math.inf if found is None else float(math.ceil(found * effect - 1e-9))


@cache
def _grid() -> tuple[Array, Array]:
    """List AUCs between 0.5 and 1 in steps of 0.0001, and `_shared` of each."""
    auc = np.linspace(0.5, 1, 5001)[1:-1]
    return auc, _shared(auc)


def _shared(auc: Array) -> Array:
    """Compute P(two members above one nonmember) - A^2 (Owen 1956)."""
    from scipy.special import ndtri, owens_t

    return auc - 2 * owens_t(ndtri(auc), 1 / math.sqrt(3)) - auc**2


def _enough(auc: float, sd: float, least: float, n_folds: int, effect: float) -> int:
    """Count the records per side that make the AUC's deviation `sd`, `least` or more."""
    room = sd**2 / fold_factor(n_folds)  # for [own + 2 (n - 1) shared] / n^2
    own, shared = auc * (1 - auc), float(_shared(np.array([auc]))[0])
    draws = (shared + math.sqrt(shared**2 + room * max(0.0, own - 2 * shared))) / room
    return math.ceil(max(draws, least, 2) * effect - 1e-9)


def _pairs_below(edge: float, level: float) -> float:
    """Count the draws with which the exact limit at a perfect AUC is past `edge`."""
    return math.log(check_level(level) / 2) / math.log(edge)


def _deviations(level: float, power: float) -> float:
    """Add z of the two-sided level and z of the power."""
    from scipy.special import ndtri

    return float(ndtri(1 - check_level(level) / 2) + ndtri(1 - check_level(power)))


def _first(holds: Callable[[int], bool], low: int, high: int) -> int | None:
    """Find the least whole number in [low, high] from which it holds on."""
    step, below = 1, low - 1
    above = low
    while not holds(above):
        if above >= high:
            return None
        below, above, step = above, min(high, above + step), step * 2
    while above - below > 1:
        middle = (above + below) // 2
        below, above = (below, middle) if holds(middle) else (middle, above)
    return above
