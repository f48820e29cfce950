"""Rho with intervals: canaries drawn again through the whole pipeline.

One draw serves the curve and every point read off it, so that what makes a canary easy for all
models cancels. Models are not drawn again: another training would scatter beyond these limits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillage.errors import DataError
from stillage.functional.binomial import Interval, check_level
from stillage.functional.equivalence import (
    END_STEPS,
    TIE,
    Equivalence,
    Smoothing,
    check_copies,
    copies_at_auc,
    exact_duplicate_equivalent,
    level_parts,
    rho_of,
    smoothed,
)
from stillage.functional.pooled import paired_auc_test
from stillage.functional.scored import checked_scores
from stillage.rng import generator
from stillage.types import Array

MISRANKED = 1.5  # canaries' worth of pairs ranked wrong, below which limits cover less


@dataclass(frozen=True, slots=True, kw_only=True)
class EquivalenceIntervals:
    """What some near-copies are worth, both readings, with limits.

    flags: of the published reading, of the isotonic one where it has others ("isotonic_..."), and
    of the limits; names of equivalence.FLAGS.
    """

    published: Equivalence
    isotonic: Equivalence
    copies: Interval  # published
    rho: Interval  # published
    rho_isotonic: Interval
    flags: tuple[str, ...]


def rho_intervals(
    curve_scores_NC: Array,
    point_scores_PC: Array,
    is_member_C: Array,
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[EquivalenceIntervals]:
    """Compute what P conditions of near-copies are worth, with bootstrap limits.

    curve_scores_NC: scores of C canaries after 1..N exact copies; point_scores_PC: after one and N
    - 1 near-copies. Members and nonmembers are drawn again, each as many as there are, the same for
    all conditions; AUCs (ties half), smoothing and inversion follow. What is estimated: the same
    procedure on the AUCs of all canaries that the generator could write. Limits: quantiles of the
    draws at the tails of -+ t sqrt(n / (n - 1)), n the smaller class (Hesterberg 2015, section
    5.3), where a draw whose curve is level at its AUC counts with the near end of the level part
    for the lower limit and with the far end for the upper (no end at all where the top is level),
    and one below a curve that begins with a fall counts from 1. An upper limit without end is NaN,
    flagged. Simulated coverage of 95 %: benchmarks/simulations/rho.py. O(resamples (N + P) C^2).
    Errors as roc_auc and exact_duplicate_equivalent.
    """
    alpha = check_level(level)
    scores_XC = np.concatenate([np.atleast_2d(curve_scores_NC), np.atleast_2d(point_scores_PC)])
    n = len(np.atleast_2d(curve_scores_NC))
    check_copies(n)
    member_C = np.asarray(is_member_C, dtype=bool)
    auc_X, auc_DX = resampled_aucs(scores_XC, member_C, resamples, seed)
    smaller = int(min(member_C.sum(), (~member_C).sum()))
    tail = _tail(alpha, smaller)
    published, isotonic = (
        _readings(auc_X, auc_DX, n, smoothing, tail) for smoothing in ("moving_average", "isotonic")
    )
    judged = paired_auc_test(scores_XC[n - 1], scores_XC[0], member_C, level).low > 0
    of_limits = [
        (() if judged else ("not_judged",))
        + (("saturated",) if smaller * (1 - auc) < MISRANKED else ())
        for auc in auc_X[n:]
    ]
    return [
        _both(one, other, n, level, flags)
        for one, other, flags in zip(published, isotonic, of_limits, strict=True)
    ]


def resampled_aucs(
    scores_XC: Array, is_member_C: Array, resamples: int, seed: int
) -> tuple[Array, Array]:
    """Compute AUCs of X conditions, and those of every draw of canaries.

    float64[X], float64[D, X]. Of a draw with counts a of the members and b of the nonmembers: a' K
    b / (a' 1 1' b), K_mo = 1 where member m is above nonmember o, 1/2 for a tie. Draws depend on
    the seed and the numbers of canaries alone. Errors as roc_auc.
    """
    if resamples < 1:
        raise DataError("Limits need draws.", f"resamples: {resamples}", "Draw 1000 times.")
    for scores_C in scores_XC:
        checked_scores(scores_C, is_member_C)
    inside_XM, outside_XO = scores_XC[:, is_member_C], scores_XC[:, ~is_member_C]
    n_in, n_out = inside_XM.shape[1], outside_XO.shape[1]
    rng = generator(seed, "rho")
    counts_DM = rng.multinomial(n_in, np.full(n_in, 1 / n_in), size=resamples).astype(np.float64)
    counts_DO = rng.multinomial(n_out, np.full(n_out, 1 / n_out), size=resamples).astype(np.float64)
    auc_X, auc_DX = np.empty(len(scores_XC)), np.empty((resamples, len(scores_XC)))
    for x, (inside_M, outside_O) in enumerate(zip(inside_XM, outside_XO, strict=True)):
        above_MO = (inside_M[:, None] > outside_O) + (inside_M[:, None] == outside_O) / 2
        auc_X[x] = above_MO.sum() / (n_in * n_out)
        auc_DX[:, x] = np.einsum("do,do->d", counts_DM @ above_MO, counts_DO) / (n_in * n_out)
    return auc_X, auc_DX


def _readings(
    auc_X: Array, auc_DX: Array, n: int, smoothing: Smoothing, tail: float
) -> list[tuple[Equivalence, float, float]]:
    """Read every point off the curve, with limits of copies; the first n AUCs are the curve."""
    low_P, high_P = _limits(auc_DX[:, :n], auc_DX[:, n:], smoothing, tail)
    found = []
    for auc, low, high in zip(auc_X[n:].tolist(), low_P.tolist(), high_P.tolist(), strict=True):
        one = exact_duplicate_equivalent(auc_X[:n], auc, smoothing=smoothing)
        found.append((one, min(low, one.copies), max(high, one.copies)))
    return found


def _both(
    published: tuple[Equivalence, float, float],
    isotonic: tuple[Equivalence, float, float],
    n: int,
    level: float,
    flags: tuple[str, ...],
) -> EquivalenceIntervals:
    """Put both readings of a point together."""
    copies, other = (
        Interval(value=one.copies, low=low, high=high if np.isfinite(high) else np.nan, level=level)
        for one, low, high in (published, isotonic)
    )
    own = published[0].flags
    alone = (flag for flag in isotonic[0].flags if flag not in own)
    endless = ("no_upper_limit",) if np.isnan([copies.high, other.high]).any() else ()
    return EquivalenceIntervals(
        published=published[0],
        isotonic=isotonic[0],
        copies=copies,
        rho=_as_rho(copies, n),
        rho_isotonic=_as_rho(other, n),
        flags=(*own, *(f"isotonic_{flag}" for flag in alone), *endless, *flags),
    )


def _limits(phi_DN: Array, phi_DP: Array, smoothing: Smoothing, tail: float) -> tuple[Array, Array]:
    """Compute lower and upper limits of copies from the draws, float64[P] each; inf: no end."""
    n, curve_DN = phi_DN.shape[1], smoothed(phi_DN, smoothing)
    copies_DP = copies_at_auc(curve_DN, phi_DP, middle=smoothing == "isotonic")
    from_DP, to_DP = level_parts(curve_DN, phi_DP)
    level_DP = to_DP > from_DP
    low_DP = np.where(level_DP, np.minimum(from_DP, copies_DP), copies_DP)
    high_DP = np.where(level_DP, np.maximum(to_DP, copies_DP), copies_DP)
    first_D1, last_D1 = curve_DN[:, :1], curve_DN[:, -1:]
    falls_D1 = curve_DN[:, 1:2] < first_D1 - TIE
    low_DP = np.where((phi_DP <= first_D1) & falls_D1, 1.0, low_DP)
    end_D1 = np.ptp(curve_DN[:, -min(n, END_STEPS + 1) :], axis=1)[:, None] < TIE
    high_DP = np.where((phi_DP >= last_D1 - TIE) & end_D1, np.inf, high_DP)
    return (
        np.quantile(low_DP, tail, axis=0, method="lower"),
        np.quantile(high_DP, 1 - tail, axis=0, method="higher"),
    )


def _tail(alpha: float, n: int) -> float:
    """Give the share of draws beyond each limit: of a normal, for Student's t of n draws."""
    from scipy.special import ndtr, stdtrit

    if n < 2:
        return 0.0
    return float(ndtr(-stdtrit(n - 1, 1 - alpha / 2) * np.sqrt(n / (n - 1))))


def _as_rho(copies: Interval, n: int) -> Interval:
    low, high = rho_of(copies.low, n), rho_of(copies.high, n)
    return Interval(value=rho_of(copies.value, n), low=low, high=high, level=copies.level)
