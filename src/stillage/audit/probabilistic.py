"""Probabilistic extraction: records that n samples show with probability p.

One sample equals the suffix z with probability p_z = prod_t q(z_t | prefix, z_<t), q the SAMPLING
distribution: temperature first, then top-k and top-p, renormalised; a token outside the kept set
makes p_z = 0. The record is (n, p)-discoverably extractable iff 1 - (1 - p_z)^n >= p. Hayes et al.
2024, arXiv:2410.19482, definition 2. log p_z comes from `models.sampling_stats`, or at temperature
1 without truncation from any teacher-forced pass. The same curve on nonmembers, whom nobody trained
on, says what guessing reaches.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.extraction import by_model_and_part
from stillage.errors import DataError
from stillage.functional.binomial import clustered_proportion
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

SAMPLES = (1, 10, 100, 1_000, 10_000)
PROBABILITIES = (0.1, 0.5, 0.9)
HALF = -math.log(2)
TINY = -30.0  # below this log p_z, -log(1 - p_z) is p_z to double precision


def log_hazard(logp_N: Array) -> Array:
    """Return log(-log(1 - p_z)) from log p_z, without underflow.

    -inf at p_z = 0, +inf at p_z = 1; NaN stays NaN. DataError for a log-probability above 0.
    """
    logp = np.asarray(logp_N, dtype=np.float64)
    if (logp > 1e-3).any():
        raise DataError(
            "A log-probability is above 0.",
            f"largest: {float(np.nanmax(logp)):g}",
            "Give log p_z in nats, at most 0.",
        )
    logp = np.minimum(logp, 0.0)
    with np.errstate(divide="ignore"):
        rare = np.log(-np.log1p(-np.exp(np.clip(logp, TINY, HALF))))
        likely = np.log(-np.log(-np.expm1(np.maximum(logp, HALF))))
    return np.where(logp < TINY, logp, np.where(logp < HALF, rare, likely))


def samples_needed(logp_N: Array, p: float) -> Array:
    """Return the fewest samples n with 1 - (1 - p_z)^n >= p; inf where p_z = 0.

    float64, at least 1: n = log(1 - p) / log(1 - p_z), rounded up where it is small enough to be a
    number of samples.
    """
    with np.errstate(over="ignore"):
        n = np.exp(math.log(-math.log1p(-p)) - log_hazard(logp_N))
    whole = np.ceil(n * (1 - 1e-12))
    return np.where(np.isnan(n), np.nan, np.maximum(1.0, np.where(n < 2**53, whole, n)))


def probabilistic_results(
    table: pa.Table,
    *,
    level: float,
    base: Result,
    samples: Sequence[int] = SAMPLES,
    probabilities: Sequence[float] = PROBABILITIES,
    sampling: str = "temperature=1",
) -> list[Result]:
    """Return the share of (n, p)-extractable records, per model and part.

    Exact intervals. table: columns model, part and suffix_logp; with id and group near-duplicates
    count once in the intervals. sampling: in words. A log-probability that is NaN counts as not
    extracted, and as missing, so that the share stays one of all records.
    """
    results, metric = [], "probabilistic_extraction_rate"
    for (model, part), rows in by_model_and_part(table).items():
        logp = rows["suffix_logp"].astype(np.float64)
        row = replace(base, model=model, dataset=part, level=level, decoding=sampling)
        row = replace(row, n=logp.size, missing=int(np.isnan(logp).sum()))
        for p in probabilities:
            needed = samples_needed(logp, p)
            for n in samples:
                share = clustered_proportion(needed <= n, rows["cluster"], level)
                at = replace(row, draws=n, probability=p)
                results.append(measured_row(at, metric, share, unit="share of records"))
    return results
