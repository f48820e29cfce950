"""How many exact copies leave the same trace as some near-copies: copies and rho.

Membership is told with AUC phi_n after training on n exact copies, n = 1..N, and with phi after one
copy and N - 1 near-copies. The curve is smoothed and inverted: `copies` is where it reaches phi,
rho = (copies - 1) / (N - 1): 1 where a near-copy counts as an exact one, 0 where it counts for
nothing. Every way in which a curve does not answer gives a finite value and a flag.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.types import Array

Smoothing = Literal["moving_average", "none", "isotonic"]
Branch = Literal["below", "interp", "above"]
READING_FLAGS = {
    "clamped": "Its AUC is below that of one copy; copies is 1, rho 0.",
    "extrapolated": "Its AUC is above that of N copies; read off the prolonged end of the curve.",
    "flat": "The curve has one value throughout; nothing can be read off it.",
    "not_rising": "The curve ends no higher than it begins.",
    "not_monotone": "The smoothed curve falls somewhere.",
    "pooled": "The curve falls somewhere; the isotonic one is level there.",
    "flat_start": "Its AUC is that of one copy or less, which two copies have too; copies is 1.",
    "falling_start": "Its AUC is that of one copy or less, and two copies have less than one: as "
    "published, a lower AUC then counts for more copies.",
    "flat_end": "Its AUC is that of N copies or more, and the curve is level there; copies may be "
    "any larger number.",
    "falling_end": "Its AUC is that of N copies or more, and the curve falls near its end: as "
    "published, its falls count as rises.",
    "several_brackets": "The curve has this AUC at several places; the last counts, as published.",
    "ambiguous": "The curve is level at this AUC. Isotonic: the middle of the level part counts; "
    "otherwise its end, as published.",
}
"""What a flag of one reading says of it."""
FLAGS = {
    **READING_FLAGS,
    **{f"isotonic_{name}": f"Isotonic rho alone: {text}" for name, text in READING_FLAGS.items()},
    "not_judged": "The AUC of N copies cannot be told from that of one on these canaries: rho says "
    "nothing.",
    "no_upper_limit": "The curve is level at its end in so many draws of canaries that rho has no "
    "upper limit.",
    "saturated": "Too few canaries for an AUC so high: those that are ranked wrong amount to fewer "
    "than 1.5 of the members or nonmembers, and the limits of rho cover less than they say: in "
    "simulation as little as 88 %, for 95.",
    "no_curve": "Its curve of exact copies was not trained as a whole: no rho.",
    "copies_lost": "Some copies of it or of its exact curve are not in the documents token for "
    "token: rho compares other doses than are named.",
    "some_members": "Members that its documents do not hold are left out, of its curve too.",
    "missing_scores": "Canaries without a score under a condition that is compared are left out.",
    "missing_answers": "Canaries without a recital are left out of its means.",
    "missing_distances": "Near-copies without a distance to their canary are left out of its mean.",
}
"""What each flag says of a number. Each is given once, in this order."""
END_STEPS = 3  # last steps whose mean height prolongs the curve
TIE = 1e-12  # AUCs nearer than this are equal; steps of AUCs are far larger, rounding far smaller


@dataclass(frozen=True, slots=True, kw_only=True)
class Equivalence:
    """What near-copies are worth: copies from 1, and rho = (copies - 1) / (N - 1).

    branch: where the AUC lies: "below" (not above the curve's first), "above" (not below its last)
    or "interp". flags: names of FLAGS.
    """

    copies: float
    rho: float
    branch: Branch
    flags: tuple[str, ...] = ()


def exact_duplicate_equivalent(
    auc_by_copies: Sequence[float] | Array,
    fuzzy_auc: float,
    *,
    smoothing: Smoothing = "moving_average",
) -> Equivalence:
    """Compute how many exact copies are worth as much as some near-copies.

    auc_by_copies: AUC after 1..N exact copies, N >= 2; fuzzy_auc: after one copy and N - 1
    near-copies. smoothing="none" reads the curve as it is; "moving_average", as published: s_1 and
    s_N as they are, else s_i = (phi_(i-1) + phi_i + phi_(i+1)) / 3; "isotonic": the nearest curve
    that never falls (least squares). Inverted as `copies_at_auc`, which says what level and falling
    parts give. Values are finite; what cannot be read is flagged. ConfigError for another
    smoothing; DataError for fewer than two AUCs, or what is no AUC. Source: Shilov et al., The
    mosaic memory of large language models.
    """
    phi_N = checked_aucs("auc_by_copies", auc_by_copies, axes=1)
    check_copies(phi_N.size)
    fuzzy_auc = float(checked_aucs("fuzzy_auc", fuzzy_auc, axes=0))
    curve_N = smoothed(phi_N, smoothing)
    fuzzy_P = np.array([fuzzy_auc], dtype=np.float64)
    copies = float(
        copies_at_auc(curve_N[None], fuzzy_P[None], middle=smoothing == "isotonic")[0, 0]
    )
    return Equivalence(
        copies=copies,
        rho=rho_of(copies, phi_N.size),
        branch=_branch(curve_N, fuzzy_auc),
        flags=_flags(phi_N, curve_N, fuzzy_auc, isotonic=smoothing == "isotonic"),
    )


def checked_aucs(name: str, given: object, *, axes: int) -> Array:
    """Return AUCs as float64, a list of them (axes 1) or one (0).

    DataError for anything else, and for numbers beyond 0 and 1.
    """
    wanted = "a list of numbers" if axes else "a number"
    try:
        found = np.asarray(given)
    except ValueError:  # lists of several lengths
        found = np.asarray("no array")
    if found.dtype.kind not in "iuf" or found.ndim != axes:
        values = f"{name}: {type(given).__name__} of {found.ndim} dimensions, {given!r:.60}"
        raise DataError(f"{name} is {wanted}.", values, f"Give {wanted} between 0 and 1.")
    aucs = found.astype(np.float64)
    wrong = aucs[~((aucs >= 0) & (aucs <= 1))].ravel()
    if wrong.size:
        values = f"{name}: {wrong.size} of {aucs.size} are not, the first {wrong[0]:g}"
        fix = "Leave out canaries without a score, and count them."
        if (wrong > 1).any():
            fix = "Divide percent by 100."
        raise DataError("AUCs lie between 0 and 1.", values, fix)
    return aucs


def check_copies(n_copies: int) -> None:
    """Refuse a curve of fewer than two AUCs (DataError)."""
    if n_copies < 2:
        raise DataError(
            "A curve of exact copies needs an AUC for at least one and two copies.",
            f"AUCs: {n_copies}",
            "Give the AUCs after 1, 2, ... N exact copies, in one list.",
        )


def rho_of(copies: float, n_copies: int) -> float:
    """Compute (copies - 1) / (N - 1)."""
    return (copies - 1) / (n_copies - 1)


def smoothed(phi_DN: Array, smoothing: Smoothing) -> Array:
    """Smooth curves along their last axis, float64[..., N].

    ConfigError for another smoothing.
    """
    if smoothing not in get_args(Smoothing):
        raise ConfigError(
            "There is no such smoothing of a curve of exact copies.",
            f"smoothing: {smoothing}",
            f"Choose one of {', '.join(get_args(Smoothing))}.",
        )
    if smoothing == "isotonic":
        return isotonic(phi_DN)
    curve_DN = np.array(phi_DN, dtype=np.float64)
    if smoothing == "moving_average":
        curve_DN[..., 1:-1] = (phi_DN[..., :-2] + phi_DN[..., 1:-1] + phi_DN[..., 2:]) / 3
    return curve_DN


def isotonic(phi_DN: Array) -> Array:
    """Compute the non-decreasing curves nearest by least squares, float64[..., N].

    iso_i = max over j <= i of the min over k >= i of mean(phi_j..phi_k): what pooling adjacent
    violators gives, for all curves at once. O(N^2) a curve. Source: Robertson et al. 1988, theorem
    1.4.4.
    """
    phi_DN = np.asarray(phi_DN, dtype=np.float64)
    n = phi_DN.shape[-1]
    sums = np.concatenate([np.zeros_like(phi_DN[..., :1]), np.cumsum(phi_DN, axis=-1)], axis=-1)
    start_N1, end_1N = np.arange(n)[:, None], np.arange(n)[None]
    inside_NN = end_1N >= start_N1
    length_NN = np.where(inside_NN, end_1N - start_N1 + 1, 1)
    mean_DNN = (sums[..., None, 1:] - sums[..., :-1, None]) / length_NN
    mean_DNN = np.where(inside_NN, mean_DNN, np.inf)
    mean_DNN[..., range(n), range(n)] = phi_DN  # without the sums' rounding
    least_DNN = np.minimum.accumulate(mean_DNN[..., ::-1], axis=-1)[..., ::-1]
    return np.where(inside_NN, least_DNN, -np.inf).max(axis=-2)


def copies_at_auc(curve_DN: Array, phi_DP: Array, *, middle: bool) -> Array:
    """Read off curves where they reach each AUC, float64[D, P]; always finite.

    phi <= s_1: max(1, 1 + (phi - s_1) / (s_2 - s_1)), and 1 for s_2 = s_1. Else phi >= s_N: N +
    (phi - s_N) / mean |last 3 steps|, and N where those are level: the curve cannot say more. Else
    on the last segment with s_i <= phi <= s_(i+1), which always rises, as phi < s_N. middle: where
    the curve is level at phi, the middle of all those places instead of the last.
    """
    n = curve_DN.shape[1]
    first_D1, second_D1, last_D1 = curve_DN[:, :1], curve_DN[:, 1:2], curve_DN[:, -1:]
    rise_D1 = second_D1 - first_D1
    below_DP = np.maximum(1.0, 1 + (phi_DP - first_D1) / np.where(_level(rise_D1), np.inf, rise_D1))
    slope_D1 = np.abs(np.diff(curve_DN, axis=1)[:, -END_STEPS:]).mean(axis=1, keepdims=True)
    above_DP = n + (phi_DP - last_D1) / np.where(_level(slope_D1), np.inf, slope_D1)
    reached_DPM = curve_DN[:, None, :-1] <= phi_DP[:, :, None] + TIE
    place_DP = n - 2 - np.argmax(reached_DPM[:, :, ::-1], axis=2)
    low_DP = np.take_along_axis(curve_DN, place_DP, axis=1)
    step_DP = np.take_along_axis(curve_DN, place_DP + 1, axis=1) - low_DP
    part_DP = np.clip((phi_DP - low_DP) / np.where(step_DP > 0, step_DP, 1.0), 0.0, 1.0)
    copies_DP = np.where(
        phi_DP <= first_D1,
        below_DP,
        np.where(phi_DP >= last_D1, above_DP, place_DP + 1 + part_DP),
    )
    if not middle:
        return copies_DP
    from_DP, to_DP = level_parts(curve_DN, phi_DP)
    return np.where(to_DP > from_DP, (from_DP + to_DP) / 2, copies_DP)


def level_parts(curve_DN: Array, phi_DP: Array) -> tuple[Array, Array]:
    """Find the first and last n with s_n = phi, float64[D, P].

    Both are 0 where there is none.
    """
    at_DPN = _level(curve_DN[:, None, :] - phi_DP[:, :, None])
    first_DP = np.argmax(at_DPN, axis=2) + 1.0
    last_DP = curve_DN.shape[1] - np.argmax(at_DPN[:, :, ::-1], axis=2)
    some_DP = at_DPN.any(axis=2)
    return np.where(some_DP, first_DP, 0.0), np.where(some_DP, last_DP, 0.0)


def _level(step: Array) -> Array:
    return np.abs(step) < TIE


def _branch(curve_N: Array, phi: float) -> Branch:
    """Tell where the AUC lies; an end of the curve belongs to what is beyond it."""
    return "below" if phi <= curve_N[0] else "above" if phi >= curve_N[-1] else "interp"


def _flags(phi_N: Array, curve_N: Array, phi: float, *, isotonic: bool) -> tuple[str, ...]:
    """Name what hinders the reading of one AUC off one curve."""
    step_M = np.diff(curve_N)
    branch, end_M = _branch(curve_N, phi), step_M[-END_STEPS:]
    at_N = np.flatnonzero(np.abs(curve_N - phi) < TIE)
    low_M, high_M = np.minimum(curve_N[:-1], curve_N[1:]), np.maximum(curve_N[:-1], curve_N[1:])
    crossings = int(((low_M < phi - TIE) & (high_M > phi + TIE)).sum())
    holds: dict[str, bool] = {
        "clamped": branch == "below" and phi < curve_N[0] and step_M[0] > -TIE,
        "extrapolated": branch == "above" and phi > curve_N[-1],
        "flat": bool(np.ptp(curve_N) < TIE),
        "not_rising": bool(curve_N[-1] <= curve_N[0] + TIE),
        "not_monotone": bool((step_M < -TIE).any()),
        "pooled": isotonic and bool((np.diff(phi_N) < -TIE).any()),
        "flat_start": branch == "below" and abs(step_M[0]) < TIE,
        "falling_start": branch == "below" and step_M[0] <= -TIE,
        "flat_end": branch == "above" and bool((np.abs(end_M) < TIE).all()),
        "falling_end": branch == "above" and bool((end_M < -TIE).any()),
        "several_brackets": crossings + _runs(at_N) > 1,
        "ambiguous": bool((np.diff(at_N) == 1).any()),
    }
    return tuple(name for name, held in holds.items() if held)


def _runs(at_N: Array) -> int:
    """Count runs of consecutive places."""
    return int((np.diff(at_N) != 1).sum()) + 1 if at_N.size else 0
