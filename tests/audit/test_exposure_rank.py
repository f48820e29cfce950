"""Canary exposure by rank, and the tail that extrapolates it."""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm, skewnorm

from stillage.audit.exposure_rank import (
    Rivals,
    exposure_results,
    exposure_row,
    exposure_schema,
    exposures,
    log_tail,
)
from stillage.audit.extraction import with_groups
from stillage.errors import DataError
from stillage.types import Result


@given(st.lists(st.integers(0, 6), min_size=1, max_size=30), st.integers(0, 6))
def test_rank_counts_ties_against_the_canary(references: list[int], canary: int) -> None:
    (found,) = exposures(np.array([canary]), np.array(references))
    assert found.rank == 1 + sum(reference >= canary for reference in references)
    assert found.bits == pytest.approx(math.log2(len(references) + 1) - math.log2(found.rank))
    assert (found.rank == 1) == all(reference < canary for reference in references)
    assert math.isnan(found.model_bits)


def test_first_and_last_and_nothing_learned() -> None:
    references = np.arange(1023.0)
    first, last, tied = exposures(np.array([2000.0, -1.0, 7.0]), references)
    assert first.bits == 10 and last.bits == 0 and tied.rank == 1023 - 7 + 1
    assert (
        exposures(np.array([1.0]), np.ones(500))[0].bits == 0
    )  # a model that scores all alike exposes nothing


def test_an_unplanted_canary_has_log2_e_bits_on_average() -> None:
    """E[-log2 U] = log2 e for a uniform rank."""
    rng = np.random.default_rng(0)
    found = exposures(rng.normal(size=4000), rng.normal(size=2000))
    assert np.mean([one.bits for one in found]) == pytest.approx(math.log2(math.e), abs=0.12)
    assert np.mean([one.model_bits for one in found]) == pytest.approx(math.log2(math.e), abs=0.12)


@pytest.mark.parametrize("shape", [-4.0, 0.0, 3.0])
def test_the_fit_extrapolates_a_known_tail(shape: float) -> None:
    """Reference scores of a known skew-normal: beyond the ceiling of 12 bits the fit finds the true 20, about."""
    truth = skewnorm(shape, -3.0, 0.7)
    references = truth.rvs(4000, random_state=np.random.default_rng(1))
    canary = float(truth.isf(2.0**-20))
    (found,) = exposures(np.array([canary]), references)
    assert found.rank == 1 and found.bits == pytest.approx(math.log2(4001))
    assert found.model_bits == pytest.approx(20, abs=2.5)
    assert found.ks < 0.03


def test_log_tail_where_one_minus_cdf_has_no_digits() -> None:
    for z in (-2.0, 0.5, 5.0, 12.0, 60.0):
        assert log_tail(z, 0.0) == pytest.approx(norm.logsf(z), rel=1e-7)
    for z in (6.0, 15.0):  # far right of a right-skewed one: both factors, Phi(shape z) = 1
        assert log_tail(z, 5.0) == pytest.approx(math.log(2) + norm.logsf(z), rel=1e-9)
    for shape in (-2.0, 1.5):  # continuous where the method changes
        z = float(skewnorm.isf(1e-6, shape))
        assert log_tail(z + 1e-7, shape) == pytest.approx(log_tail(z - 1e-7, shape), abs=1e-5)
    assert log_tail(math.inf, 1.0) == -math.inf


NO_LABELS: dict[str, list[str]] = defaultdict(list)


def rivals_of_all(**scored: tuple[np.ndarray, np.ndarray]) -> dict[str, Rivals]:
    """The student's canaries by part, all against the same references: part -> scores, references."""
    ids = tuple(f"{part} {k}" for part, (scores, _) in scored.items() for k in range(len(scores)))
    above = np.concatenate(
        [references >= scores[:, None] for scores, references in scored.values()]
    )
    names = tuple(f"nonmember {k}" for k in range(above.shape[1]))
    return {
        "student": Rivals(
            canaries=ids,
            references=names,
            groups=("",) * len(names),
            above_CM=above.astype(np.int8),
        )
    }


def table_of(scores: np.ndarray, references: np.ndarray, part: str = "private") -> pa.Table:
    rows = [
        exposure_row("student", f"{part} {k}", part, exposures(np.array([score]), references)[0])
        for k, score in enumerate(scores)
    ]
    return pa.Table.from_pylist(rows, schema=exposure_schema())


def test_results_by_role_and_copies_say_what_is_a_model() -> None:
    rng = np.random.default_rng(2)
    base = Result(run="", stage="exposure", model="", metric="", value=0.0)
    references = rng.normal(size=1000)
    scores = np.concatenate([rng.normal(0, 1, 6), rng.normal(9, 1, 6)])
    others = rng.normal(size=50)
    table = pa.concat_tables(
        [table_of(scores, references), table_of(others, references, "nonmembers")]
    )
    rivals = rivals_of_all(private=(scores, references), nonmembers=(others, references))
    labels = {"copies": {f"private {k}": f"copies: {1 if k < 6 else 16}" for k in range(12)}}
    results = exposure_results(table, labels, rivals, level=0.95, base=base)
    by = {(r.metric, r.dataset): r for r in results}
    assert len(by) == len(results) == 6 and all(
        r.unit == "bits" and r.model == "student" for r in results
    )
    assert by["exposure", "private"].n == 12 and by["exposure", "nonmembers"].n == 50
    assert by["exposure", "nonmembers"].low < math.log2(math.e) < by["exposure", "nonmembers"].high
    many = by["slice_exposure", "copies: 16"]
    assert many.value == pytest.approx(math.log2(1001)) == many.high and many.low < many.value
    assert (many.ceiling, many.at_ceiling, many.n) == (pytest.approx(math.log2(1001)), 6, 6)
    assert by["exposure_extrapolated", "private"].value > 10
    extrapolated = by["exposure_extrapolated", "private"]
    assert "model-based" in extrapolated.note and "the error of the curve" in extrapolated.reason
    assert math.isnan(extrapolated.low) and math.isnan(extrapolated.high)
    assert by["slice_exposure", "copies: 1"].value < 5
    rivals = rivals_of_all(private=(scores, references[:20]))
    few = exposure_results(table_of(scores, references[:20]), labels, rivals, level=0.95, base=base)
    assert {r.metric for r in few} == {"exposure", "slice_exposure"}


def test_what_is_left_out_is_counted_and_near_duplicates_count_once() -> None:
    base = Result(run="", stage="exposure", model="", metric="", value=0.0)
    rng = np.random.default_rng(3)
    scores, references = np.repeat(rng.normal(size=8), 5), rng.normal(size=200)
    table, rivals = table_of(scores, references), rivals_of_all(private=(scores, references))
    lost = [
        exposure_row("student", f"lost {k}", "private", why)
        for k, why in enumerate(("cut", "cut", "NaN"))
    ]
    table = pa.concat_tables([table, pa.Table.from_pylist(lost, schema=exposure_schema())])
    groups = {f"private {k}": f"g{k // 5}" for k in range(40)}
    together, alone = (
        exposure_results(with_groups(table, group_of), NO_LABELS, rivals, level=0.95, base=base)[0]
        for group_of in (groups, {})
    )
    assert together.n == alone.n == 40
    assert (together.missing, together.missing_reason) == (3, "1 left out: NaN; 2 left out: cut")
    assert together.value == alone.value and together.high - together.low > 2 * (
        alone.high - alone.low
    )
    nothing = exposure_results(
        pa.Table.from_pylist(lost, schema=exposure_schema()),
        NO_LABELS,
        rivals,
        level=0.95,
        base=base,
    )
    assert [(r.n, math.isnan(r.value)) for r in nothing] == [
        (0, True)
    ] and "2 left out: cut" in nothing[0].reason


@pytest.mark.parametrize(
    ("canaries", "references"), [([1.0], []), ([math.nan], [1.0]), ([1.0], [math.nan, 2.0])]
)
def test_bad_scores_are_refused(canaries: list[float], references: list[float]) -> None:
    with pytest.raises(DataError, match="ranked among"):
        exposures(np.array(canaries), np.array(references))
