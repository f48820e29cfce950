"""Coverage of the intervals of rho: canaries drawn again through smoothing and inversion.

    python benchmarks/simulations/rho.py [REPETITIONS]

A canary's score is its difficulty (shared by all conditions, a part of the variance), noise of its own in each condition,
and for members an effect of the condition that scatters by a quarter between canaries. Curves: the published means of
GPT-Neo 1.3B and Phi-2, a small model trained from scratch (.61 .71 .77 .89 .995 at 1, 2, 3, 5, 10), one that is flat at
its top (.9995), and one near chance. What is to be covered: the published procedure, and the isotonic one, applied to the
AUCs of infinitely many canaries. Each cell: coverage of rho as published / isotonic, in percent, and the median width of
the first (- : no upper limit); then how many intervals are flagged "saturated" and "not judged", and the coverage of the
others.
"""

from __future__ import annotations

import math
import sys

import numpy as np
from scipy.stats import norm

from stillage.functional.equivalence import copies_at_auc, rho_of, smoothed
from stillage.functional.equivalence_intervals import rho_intervals
from stillage.rng import generator
from stillage.types import Array

COPIES = 10
CURVES = {
    "GPT-Neo": np.array([0.612, 0.7, 0.775, 0.83, 0.873, 0.903, 0.928, 0.943, 0.955, 0.964]),
    "Phi-2": np.array([0.577, 0.627, 0.67, 0.708, 0.739, 0.771, 0.796, 0.809, 0.824, 0.846]),
    "small": np.interp(np.arange(1, 11), [1, 2, 3, 5, 10], [0.61, 0.71, 0.77, 0.89, 0.995]),
    "flat top": np.array([0.7, 0.85, 0.93, 0.97, 0.985, 0.993, 0.996, 0.998, 0.999, 0.9995]),
    "near chance": np.linspace(0.52, 0.59, 10),
}
RHOS = (0.0, 0.05, 0.2, 0.5, 0.8, 0.95, 1.05)
SCATTER = 0.25  # of a condition's effect between members
RESAMPLES = 500


def effect(auc: Array) -> Array:
    """The effect that gives members this AUC: Phi(effect / sqrt(2 + (SCATTER effect)^2))."""
    q = norm.ppf(auc)
    return q * np.sqrt(2 / (1 - (q * SCATTER) ** 2))


def auc_at(curve_N: Array, rho: float) -> float:
    """The AUC of a true rho on a curve, prolonged as published."""
    copies = 1 + rho * (COPIES - 1)
    beyond = max(0.0, copies - COPIES) * float(np.abs(np.diff(curve_N)[-3:]).mean())
    return float(np.interp(copies, np.arange(1, COPIES + 1), curve_N)) + beyond


def scores(rng: np.random.Generator, auc_X: Array, n: int, shared: float) -> tuple[Array, Array]:
    """(scores [X, 2 n], is_member) of n canaries of each kind under X conditions."""
    is_member = np.arange(2 * n) < n
    hard, own = rng.normal(size=2 * n), rng.normal(size=(auc_X.size, 2 * n))
    found = math.sqrt(shared) * hard + math.sqrt(1 - shared) * own
    found[:, :n] += effect(auc_X)[:, None] * (1 + SCATTER * rng.normal(size=n))
    return found, is_member


def cell(name: str, rho: float, n: int, shared: float, reps: int) -> str:
    """One cell of the table."""
    rng = generator(1, "rho", name, str(rho), n, str(shared))
    curve_N, auc = CURVES[name], auc_at(CURVES[name], rho)
    if auc >= 1:
        return "no such AUC"
    true = [
        rho_of(
            float(
                copies_at_auc(smoothed(curve_N, way)[None], np.array([[auc]]), middle=False)[0, 0]
            ),
            COPIES,
        )
        for way in ("moving_average", "isotonic")
    ]
    rows = []
    for repeat in range(reps):
        found, is_member = scores(rng, np.append(curve_N, auc), n, shared)
        one = rho_intervals(found[:-1], found[-1:], is_member, resamples=RESAMPLES, seed=repeat)[0]
        held = [
            interval.low <= truth + 1e-9 and not interval.high < truth - 1e-9
            for interval, truth in zip((one.rho, one.rho_isotonic), true, strict=True)
        ]
        flags = ["saturated" in one.flags, "not_judged" in one.flags]
        rows.append([*held, one.rho.high - one.rho.low, *flags])
    table = np.array(rows, dtype=float)
    covered, saturated, unjudged = table[:, :2], table[:, 3] > 0, table[:, 4] > 0
    text = " / ".join(f"{100 * share:.1f}" for share in covered.mean(axis=0))
    width = np.median(np.where(np.isnan(table[:, 2]), np.inf, table[:, 2]))
    text += f", {width:.2f}" if math.isfinite(width) else ", -"
    if (saturated | unjudged).any():
        clean = covered[~(saturated | unjudged)]
        rest = (
            " / ".join(f"{100 * share:.0f}" for share in clean.mean(axis=0)) if len(clean) else "-"
        )
        text += f" ({saturated.mean():.0%} sat., {unjudged.mean():.0%} not j.; others {rest})"
    return text


def main(reps: int) -> None:
    """The table: a row a curve and number of canaries, a column a true rho."""
    print(f"{reps} repetitions a cell, {RESAMPLES} draws each\n")
    print("| curve | canaries | shared | " + " | ".join(f"rho {rho:g}" for rho in RHOS) + " |")
    print("|---|--:|--:|" + "---|" * len(RHOS))
    for name in CURVES:
        for n, shared in ((100, 0.8), (100, 0.2), (30, 0.8)):
            cells = [cell(name, rho, n, shared, reps) for rho in RHOS]
            print(f"| {name} | {n} + {n} | {shared} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
