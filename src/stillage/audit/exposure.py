"""Canary exposure: how far a planted secret rises among the secrets that might have been planted instead.

exposure = log2 |R| - log2 rank, over the canary and its references together: 0 bits when it ranks last, log2 |R| when
first. A tie ranks above the canary, so that a model that scores everything alike exposes nothing. With few references
log2 |R| is a ceiling; then a skew-normal fitted to the references extrapolates, which is a model's word, not a count.
Carlini et al. 2019, arXiv:1802.08232, definitions 4 and 5, section 4.3.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stillage.errors import DataError
from stillage.types import Array, Result

LEAST_TO_FIT = 100  # references below which no distribution is fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One canary's exposure in bits, by rank and, apart from it, by extrapolation."""

    bits: float  # log2 |R| - log2 rank
    rank: int  # 1 = above every reference
    n_references: int
    model_bits: float  # -log2 of the fitted skew-normal's tail above the canary; NaN where nothing was fitted
    ks: float  # largest distance between the references and the fit, 0 to 1; NaN where nothing was fitted

    @property
    def is_ceiling(self) -> bool:
        """Does the canary rank first, so that only the number of references bounds it?"""
        return self.rank == 1


def exposures(canary_scores_C: Array, reference_scores_R: Array) -> list[Exposure]:
    """Exposure of each canary among the same references; scores higher = more memorised (e.g. log-probability).

    References must come from the same generator as the canaries and never have been trained on. DataError without
    references, or for scores that are NaN.
    """
    canaries, references = (np.asarray(x, dtype=np.float64).ravel() for x in (canary_scores_C, reference_scores_R))
    n_nan = int(np.isnan(canaries).sum() + np.isnan(references).sum())
    if not references.size or n_nan:
        raise DataError(
            "Canaries cannot be ranked among these references.",
            f"{references.size} references; {n_nan} scores are NaN",
            "Score references drawn from the canaries' own generator, and drop none that is NaN in silence.",
        )
    ordered = np.sort(references)
    above_C = references.size - np.searchsorted(ordered, canaries, side="left")  # ties count as above
    tails, ks = _skew_normal_tails(canaries, ordered)
    return [
        Exposure(
            bits=math.log2(references.size + 1) - math.log2(1 + int(above)),
            rank=1 + int(above),
            n_references=references.size,
            model_bits=float(bits),
            ks=ks,
        )
        for above, bits in zip(above_C, tails, strict=True)
    ]


def exposure_results(
    canary_scores_C: Array, copies_C: Sequence[int], reference_scores_R: Array, *, level: float, base: Result
) -> list[Result]:
    """Mean exposure per number of copies that were planted, with Student's t interval over the canaries.

    Metrics: exposure (by rank) and exposure_extrapolated, whose note says that it is model-based.
    """
    from stillage.evaluate.quality import mean_interval

    found, copies = exposures(canary_scores_C, reference_scores_R), np.asarray(copies_C)
    assert len(copies) == len(found)
    results = []
    for count in sorted({int(c) for c in copies}):
        chosen = [one for one, c in zip(found, copies, strict=True) if c == count]
        ceiling = sum(one.is_ceiling for one in chosen)
        fit = f"model-based: skew-normal fit, KS distance {chosen[0].ks:.3f}"
        for metric, bits, note in (
            ("exposure", [one.bits for one in chosen], f"at the ceiling: {ceiling} of {len(chosen)}"),
            ("exposure_extrapolated", [one.model_bits for one in chosen], fit),
        ):
            if np.isnan(bits).any():
                continue
            mean, low, high = mean_interval(np.array(bits), level)
            results.append(
                replace(base, metric=metric, value=mean, low=low, high=high, level=level, n=len(bits), unit="bits",
                        dataset=f"canaries, {count} copies", note=f"copies={count}; {note}")
            )  # fmt: skip
    return results


def _skew_normal_tails(canaries_C: Array, references_R: Array) -> tuple[Array, float]:
    """-log2 P(reference >= canary) under a skew-normal fitted by maximum likelihood, and the fit's KS distance."""
    from scipy.stats import kstest, skewnorm

    if references_R.size < LEAST_TO_FIT or references_R[0] == references_R[-1] or not np.isfinite(references_R).all():
        return np.full(canaries_C.size, math.nan), math.nan
    centre, scale = float(references_R.mean()), float(references_R.std())
    standard_R = (references_R - centre) / scale
    shape, location, width = np.asarray(skewnorm.fit(standard_R), dtype=np.float64).tolist()
    places_C = ((canaries_C - centre) / scale - location) / width
    tails = np.array([-log_tail(float(z), shape) / math.log(2) for z in places_C])
    return tails, float(kstest(standard_R, skewnorm(shape, location, width).cdf).statistic)


def log_tail(z: float, shape: float) -> float:
    """log P(Z >= z) of the standard skew-normal, density 2 phi(z) Phi(shape z).

    Far out, where 1 - cdf has no digits left, the density is integrated in logarithms (Simpson's rule).
    """
    from scipy.special import log_ndtr, logsumexp
    from scipy.stats import skewnorm

    if math.isinf(z):
        return -math.inf if z > 0 else 0.0
    tail = float(skewnorm.sf(z, shape))
    if tail > 1e-6:
        return math.log(tail)

    def log_density(x: Array) -> Array:
        return math.log(2 / math.sqrt(2 * math.pi)) - x**2 / 2 + log_ndtr(shape * x)

    top, reach = float(log_density(np.array(z))), 1e-3
    while float(log_density(np.array(z + reach))) > top - 50:  # log-concave: beyond, nothing is left
        reach *= 1.5
    grid = np.linspace(z, z + reach, 4001)
    weights = np.where(np.arange(grid.size) % 2 == 1, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return float(logsumexp(log_density(grid), b=weights * (grid[1] - grid[0]) / 3))
