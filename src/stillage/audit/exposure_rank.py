"""Canary exposure: how far a secret ranks above others that could replace it.

exposure = log2 |R| - log2 rank, over the canary and its references together: 0 bits when it ranks
last, log2 |R| when first. A tie ranks above the canary, so that a model that scores everything
alike exposes nothing. With few references log2 |R| is a ceiling; then a skew-normal fitted to the
references extrapolates, which is a model's word, not a count. Carlini et al. 2019,
arXiv:1802.08232, definitions 4 and 5, section 4.3.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.candidates import Canary
from stillage.audit.extraction import by_model_and_part
from stillage.audit.group_labels import Labels
from stillage.data.grouping import cluster_numbers
from stillage.errors import DataError
from stillage.functional.binomial import Interval
from stillage.functional.shared_ranks import mean_exposure_interval
from stillage.rng import generator
from stillage.run.results import measured_row
from stillage.types import Array, Result

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_TO_FIT = 100  # references below which no distribution is fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """One canary's exposure in bits, by rank and, apart from it, by extrapolation."""

    bits: float  # log2 |R| - log2 rank
    rank: int  # 1 = above every reference
    references: int  # how many
    model_bits: float  # -log2 of the fitted skew-normal's tail above it; NaN: nothing fitted
    ks: float  # largest distance of references and fit, 0 to 1; NaN: nothing fitted


NOT_RANKED = Exposure(bits=math.nan, rank=0, references=0, model_bits=math.nan, ks=math.nan)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rivals:
    """Which references, mostly shared, reach which canaries under one model."""

    canaries: tuple[str, ...]  # ids
    references: tuple[str, ...]  # ids of the nonmembers whose values were put in place
    groups: tuple[str, ...]  # of the references: near-duplicates; "": alone
    above_CM: Array  # int8: 1 the reference scores as high or higher, 0 lower, -1 not its reference

    def mean(
        self, ids: Sequence[str], groups: Sequence[str], draws: np.random.Generator, level: float
    ) -> Interval:
        """The mean exposure of some canaries; groups: of near-duplicates, "" alone."""
        row_of, n = {id_: row for row, id_ in enumerate(self.canaries)}, len(ids)
        numbers = cluster_numbers([*ids, *self.references], [*groups, *self.groups])
        above = self.above_CM[[row_of[id_] for id_ in ids]]
        return mean_exposure_interval(above, numbers[:n], numbers[n:], draws, level=level)


def rivals_of(
    canaries: Sequence[Canary],
    scores: Sequence[tuple[float, Array] | str],
    group_of: Mapping[str, str],
) -> Rivals:
    """Mark who reaches whom, by candidate_scores of one model; group_of: id -> group."""
    pairs = zip(canaries, scores, strict=True)
    ranked = [(one, scored) for one, scored in pairs if not isinstance(scored, str)]
    references = tuple(sorted({id_ for one, _ in ranked for id_ in one.reference_ids}))
    column_of = {id_: column for column, id_ in enumerate(references)}
    above_CM = np.full((len(ranked), len(references)), -1, dtype=np.int8)
    for row, (one, (score, others)) in enumerate(ranked):
        above_CM[row, [column_of[id_] for id_ in one.reference_ids]] = others >= score
    return Rivals(
        canaries=tuple(one.record.id for one, _ in ranked),
        references=references,
        groups=tuple(group_of.get(id_, "") for id_ in references),
        above_CM=above_CM,
    )


def exposures(canary_scores_C: Array, reference_scores_R: Array) -> list[Exposure]:
    """Return the exposure of each canary among the same references.

    Scores: higher = more memorised (e.g. log-probability). References come from the canaries'
    generator and were never trained on. DataError without references, or for scores that are NaN.
    """
    canaries, references = (
        np.asarray(x, dtype=np.float64).ravel() for x in (canary_scores_C, reference_scores_R)
    )
    n_nan = int(np.isnan(canaries).sum() + np.isnan(references).sum())
    if not references.size or n_nan:
        raise DataError(
            "Canaries cannot be ranked among these references.",
            f"{references.size} references; {n_nan} scores are NaN",
            "Score references drawn from the canaries' own generator, and drop none that is NaN"
            " in silence.",
        )
    ordered = np.sort(references)
    above_C = ordered.size - np.searchsorted(ordered, canaries, side="left")  # ties are above
    tails, ks = _skew_normal_tails(canaries, ordered)
    return [
        Exposure(
            bits=math.log2(references.size + 1) - math.log2(1 + int(above)),
            rank=1 + int(above),
            references=references.size,
            model_bits=float(bits),
            ks=ks,
        )
        for above, bits in zip(above_C, tails, strict=True)
    ]


def exposure_schema() -> pa.Schema:
    """Columns of exposure/exposure.parquet; why: what a canary with no number lacks."""
    import pyarrow as pa

    names = ("model", "id", "part", "bits", "rank", "references", "model_bits", "ks", "why")
    kinds: dict[str, pa.DataType] = dict.fromkeys(("bits", "model_bits", "ks"), pa.float64())
    kinds |= {"rank": pa.int64(), "references": pa.int64()}
    return pa.schema([(name, kinds.get(name, pa.string())) for name in names])


def exposure_row(
    model: str, record_id: str, part: str, exposure: Exposure | str
) -> dict[str, object]:
    """A row of the table: one model's exposure of one canary, or why there is none."""
    known, why = (NOT_RANKED, exposure) if isinstance(exposure, str) else (exposure, "")
    return {"model": model, "id": record_id, "part": part, **asdict(known), "why": why}


def exposure_results(
    table: pa.Table,
    labels: Labels,
    rivals: Mapping[str, Rivals],
    *,
    level: float,
    base: Result,
) -> list[Result]:
    """Mean exposure in bits per model, of members and of nonmembers (the floor).

    exposure: by rank, with an interval over canaries and references, both drawn again (rivals:
    model -> who outranks whom). exposure_extrapolated: model-based, and its note says so; no
    interval, since the curve's own error is not known. slice_exposure: of the members in every
    group that `labels` names, e.g. by how often they were planted.
    Near-duplicates count once in the intervals, where the table has the column `group`; those
    without a number are missing, with the reason.
    """
    results: list[Result] = []
    for (model, part), rows in by_model_and_part(table).items():
        row = replace(base, model=model, dataset=part, level=level, unit="bits")
        results += _means(rows, replace(row, metric="exposure"), rivals[model])
        if part != "private":
            continue
        for label_of in labels.values():
            label_N = np.array([label_of[id_] for id_ in rows["id"]])
            for label in np.unique(label_N).tolist():
                own = {name: values[label_N == label] for name, values in rows.items()}
                named = replace(row, metric="slice_exposure", dataset=label)
                results += _means(own, named, rivals[model])[:1]
    return results


def _means(rows: Mapping[str, Array], row: Result, rivals: Rivals) -> list[Result]:
    """The mean by rank and, where anything was fitted, the mean of the extrapolations."""
    reasons = Counter(str(why) for why in rows["why"] if why)
    why = "; ".join(f"{count} left out: {one}" for one, count in sorted(reasons.items()))
    row = replace(row, missing=sum(reasons.values()), missing_reason=why)
    known = np.isfinite(rows["bits"])
    if not known.any():
        return [replace(row, value=math.nan, reason=why)]
    rows = {name: values[known] for name, values in rows.items()}
    ceiling = math.log2(int(rows["references"].max()) + 1)
    n, ids = int(known.sum()), rows["id"].tolist()
    groups = rows["group"].tolist() if "group" in rows else [""] * n
    draws = generator(row.seed, "exposure interval", row.model, row.dataset)
    mean = rivals.mean(ids, groups, draws, row.level)
    counted = replace(row, ceiling=ceiling, at_ceiling=int((rows["rank"] == 1).sum()))
    if math.isnan(mean.low):
        why = "fewer than two secrets, or others, that are no near-duplicates"
        counted = replace(counted, reason=why)
    results = [measured_row(counted, row.metric, mean, unit=row.unit, n=n)]
    fitted = np.isfinite(rows["model_bits"])
    if fitted.any():
        distance = np.median(rows["ks"][fitted])
        note = f"model-based: skew-normal fits, median KS distance {distance:.3f}"
        note += f"; {np.sum(~fitted)} not fitted" if not fitted.all() else ""
        results.append(
            replace(
                row,
                metric=f"{row.metric}_extrapolated",
                value=float(rows["model_bits"][fitted].mean()),
                n=int(fitted.sum()),
                reason="the error of the curve itself is not known",
                note=note,
            )
        )
    return results


def _skew_normal_tails(canaries_C: Array, references_R: Array) -> tuple[Array, float]:
    """-log2 P(reference >= canary) by a skew-normal (ML fit), and its KS distance."""
    from scipy.stats import kstest, skewnorm

    few, constant = references_R.size < LEAST_TO_FIT, references_R[0] == references_R[-1]
    if few or constant or not np.isfinite(references_R).all():
        return np.full(canaries_C.size, math.nan), math.nan
    centre, scale = float(references_R.mean()), float(references_R.std())
    standard_R = (references_R - centre) / scale
    shape, location, width = np.asarray(skewnorm.fit(standard_R), dtype=np.float64).tolist()
    places_C = ((canaries_C - centre) / scale - location) / width
    tails = np.array([-log_tail(float(z), shape) / math.log(2) for z in places_C])
    return tails, float(kstest(standard_R, skewnorm(shape, location, width).cdf).statistic)


def log_tail(z: float, shape: float) -> float:
    """log P(Z >= z) of the standard skew-normal, density 2 phi(z) Phi(shape z).

    Far out, where 1 - cdf has no digits left, Simpson's rule integrates the density in logarithms.
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

    least, reach = float(log_density(np.array(z))) - 50, 1e-3
    while float(log_density(np.array(z + reach))) > least:  # log-concave: beyond, nothing is left
        reach *= 1.5
    grid = np.linspace(z, z + reach, 4001)
    weights = np.where(np.arange(grid.size) % 2 == 1, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return float(logsumexp(log_density(grid), b=weights * (grid[1] - grid[0]) / 3))
