"""Rates, recitals and quality by group, each with a test between the groups."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from stillage.audit.by_group import quality_by_group, rates_by_group, recitals_by_group
from stillage.audit.slices import slice_results
from stillage.types import Result

BASE = Result(run="", stage="audit", model="", metric="", value=math.nan)
N = 400
RNG = np.random.default_rng(3)
IDS = [f"r{index}" for index in range(N)]
MEMBER = np.arange(N) < N // 2
WEAK = np.arange(N) % 2 == 0  # records of the group that leaks
LABELS = {
    "kind": {
        id_: f"kind: {'weak' if weak else 'strong'}" for id_, weak in zip(IDS, WEAK, strict=True)
    },
    "all": dict.fromkeys(IDS, "all: one"),
}


def table(**columns: Sequence[object]) -> pa.Table:
    parts = ["private" if member else "nonmembers" for member in MEMBER]
    return pa.table(
        {"model": ["student"] * N, "id": IDS, "part": parts, "group": [""] * N, **columns}
    )


def scores() -> pa.Table:
    return table(attack=["loss"] * N, score=(RNG.normal(size=N) + 3 * (MEMBER & WEAK)).tolist())


def test_what_is_found_in_each_group_at_the_threshold_of_all_nonmembers() -> None:
    given = scores()
    rows = rates_by_group(given, LABELS, fprs=[0.1, 0.001], level=0.95, base=BASE)
    found = {(row.metric, row.dataset): row for row in rows}
    assert {row.fpr for row in rows} == {0.1}  # 200 nonmembers allow no 0.001
    weak, strong = (found["slice_tpr_at_fpr", f"kind: {name}"] for name in ("weak", "strong"))
    values = np.array(given.column("score").to_pylist())
    threshold = np.sort(values[~MEMBER])[::-1][20]
    assert weak.value == pytest.approx((values[MEMBER & WEAK] > threshold).mean()) and weak.n == 100
    assert weak.low > strong.high and found["slice_tpr_at_fpr_between_groups", "kind"].value < 1e-6
    assert found["slice_achieved_fpr", "all: one"].value == pytest.approx(0.1)
    assert found["slice_achieved_fpr_between_groups", "kind"].value > 0.001
    assert math.isnan(found["slice_tpr_at_fpr_between_groups", "all"].value)
    assert "fewer than two groups" in found["slice_tpr_at_fpr_between_groups", "all"].reason


def test_aucs_have_a_test_between_groups_too() -> None:
    rows = slice_results(scores(), LABELS, level=0.95, base=BASE)
    test = next(
        row for row in rows if (row.metric, row.dataset) == ("slice_auc_between_groups", "kind")
    )
    assert test.value < 1e-6 and test.n == 2 and test.attack == "loss"


def test_a_column_with_a_colon_in_its_name_is_one_column() -> None:
    of_kin = {id_: label.replace("kind", "kind: of kin") for id_, label in LABELS["kind"].items()}
    labels = {"kind: of kin": of_kin}
    rows = [
        *slice_results(scores(), labels, level=0.95, base=BASE),
        *rates_by_group(scores(), labels, fprs=[0.1], level=0.95, base=BASE),
    ]
    tests = [row.dataset for row in rows if row.metric.endswith("_between_groups")]
    assert len(tests) == 3 and set(tests) == {"kind: of kin"}


def test_recitals_of_members_and_nonmembers() -> None:
    recited = table(exact=(MEMBER & WEAK).tolist(), tokens=[3] * (N - 1) + [0])
    rows = recitals_by_group(recited, LABELS, level=0.95, base=BASE)
    found = {(row.part, row.dataset, row.metric): row for row in rows}
    weak = found["private", "kind: weak", "slice_extraction_rate"]
    assert (weak.value, weak.n) == (1.0, 100) and 0.95 < weak.low < 1
    assert (
        found["nonmembers", "kind: strong", "slice_extraction_rate"].n == 99
    )  # one has nothing to recite
    assert found["private", "kind", "slice_extraction_rate_between_groups"].value < 1e-6
    assert found["nonmembers", "kind", "slice_extraction_rate_between_groups"].value > 0.5


def test_quality_of_each_group_and_near_duplicates_counted_once() -> None:
    samples = pa.table(
        {
            "model": ["student"] * N,
            "id": IDS,
            "rouge_l": [*np.where(WEAK, RNG.random(N), 0.0).tolist()[:-1], math.nan],
            "exact_match": WEAK.tolist(),
            "needed_exact": [None] * N,
        }
    )
    metrics = ("rouge_l", "exact_match", "needed_exact")
    rows = quality_by_group(samples, metrics, LABELS, {}, level=0.95, base=BASE)
    found = {(row.metric, row.dataset): row for row in rows}
    assert {metric for metric, _ in found} == {
        f"slice_{name}{end}" for name in metrics[:2] for end in ("", "_between_groups")
    }
    assert (
        found["slice_exact_match", "kind: weak"].value == 1
        and found["slice_rouge_l", "kind: strong"].n == 199
    )
    assert found["slice_rouge_l_between_groups", "kind"].value < 1e-6
    groups = {id_: f"g{index // 20}" for index, id_ in enumerate(IDS)}
    near = quality_by_group(samples, ("rouge_l",), LABELS, groups, level=0.95, base=BASE)
    assert (
        next(row for row in near if row.dataset == "kind: weak").value
        == found["slice_rouge_l", "kind: weak"].value
    )
