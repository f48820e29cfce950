"""Exact copies that near-copies are worth: published values, hostile curves, properties."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from stillage.errors import ConfigError, DataError, UserError
from stillage.functional.equivalence import (
    FLAGS,
    Smoothing,
    exact_duplicate_equivalent,
    isotonic,
    smoothed,
)

GOLDEN = Path(__file__).parents[1] / "golden"
MANIFEST = json.loads((GOLDEN / "exact_duplicate_equivalent.json").read_text())
TENSORS = load_file(GOLDEN / MANIFEST["tensors_file"])
CASES = {case["name"]: case for case in MANIFEST["cases"]}
LINE = [0.5 + 0.05 * i for i in range(10)]
EDGES = {
    # name: curve, AUC, copies as published (None: infinite or none), branch, flags
    "on the line": (LINE, 0.62, 3.4, "interp", set()),
    "at the first": (LINE, 0.5, 1.0, "below", set()),
    "below the first": (LINE, 0.4, 1.0, "below", {"clamped"}),
    "at the last": (LINE, LINE[-1], 10.0, "above", set()),
    "above the last": (LINE, 1.0, 11.0, "above", {"extrapolated"}),
    "flat top": (
        [0.5, 0.6, 0.7, 0.8, 0.9, 1, 1, 1, 1, 1],
        1.0,
        None,
        "above",
        {"flat_end", "ambiguous"},
    ),
    "dip at the start": (
        [0.6, 0.5, 0.55, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95],
        0.55,
        2.0,
        "below",
        {"falling_start", "not_monotone"},
    ),
    "two brackets": (
        [0.5, 0.6, 0.9, 0.5, 0.5, 0.6, 0.9, 0.92, 0.94, 0.96],
        0.63,
        5.725,
        "interp",
        {"not_monotone", "several_brackets"},
    ),
}


def as_published(curve: list[float], phi: float) -> float:
    """The published rule, a line at a time, on a curve that is smoothed already."""
    n = len(curve)
    if phi <= curve[0]:
        return max(1.0, 1 + (phi - curve[0]) / (curve[1] - curve[0]))
    if phi >= curve[-1]:
        steps = [abs(b - a) for a, b in itertools.pairwise(curve)][-3:]
        return n + (phi - curve[-1]) / (sum(steps) / len(steps))
    place = max(i for i in range(n - 1) if curve[i] <= phi <= curve[i + 1])
    return place + 1 + (phi - curve[place]) / (curve[place + 1] - curve[place])


def pooled(curve: list[float]) -> list[float]:
    """Adjacent violators pooled, with a stack."""
    blocks: list[list[float]] = []
    for value in curve:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    return [value for value, count in blocks for _ in range(int(count))]


@pytest.mark.parametrize("model", ["gptneo1B", "llama_3.2_1B"])
def test_published_curves_of_all_seeds_and_attacks(model: str) -> None:
    case = CASES[f"published_aucs/{model}"]
    roles, expected = case["input_roles"], case["expected"]
    exact_SNA = TENSORS[roles["exact_aucs_seed_n_attack"]]
    near_SRA = TENSORS[roles["near_duplicate_aucs_seed_R_attack"]]
    assert exact_SNA.shape == (5, 10, 5) and near_SRA.shape == (5, 8, 5)
    rho_SRA, branches = np.empty(near_SRA.shape), set()
    for (seed, R, attack), auc in np.ndenumerate(near_SRA):
        found = exact_duplicate_equivalent(exact_SNA[seed, :, attack], float(auc))
        rho_SRA[seed, R, attack] = found.rho
        branches.add(found.branch)
    np.testing.assert_allclose(rho_SRA, TENSORS[expected["rho_seed_R_attack"]], atol=1e-9, rtol=0)
    assert branches >= {"interp", "above"} if model == "llama_3.2_1B" else branches
    curves_SAN = smoothed(np.moveaxis(exact_SNA, 1, 2), "moving_average")
    expected_SNA = TENSORS[expected["smoothed_seed_n_attack"]]
    np.testing.assert_allclose(np.moveaxis(curves_SAN, 2, 1), expected_SNA, atol=1e-9)
    ratio = case["options"]["attacks"].index("ratio")
    means = TENSORS[expected["rho_mean_R_ratio"]]
    np.testing.assert_allclose(rho_SRA[:, :, ratio].mean(axis=0), means, atol=1e-9)
    spread = TENSORS[expected["rho_std_R_ratio"]]
    np.testing.assert_allclose(rho_SRA[:, :, ratio].std(axis=0), spread, atol=1e-9)


@pytest.mark.parametrize("name", ["synthetic/monotone", "synthetic/noisy"])
def test_published_synthetic_curves(name: str) -> None:
    curve, expected = CASES[name]["options"]["phi_exact"], CASES[name]["expected"]
    np.testing.assert_allclose(
        smoothed(np.array(curve), "moving_average"), expected["smoothed"], atol=1e-12
    )
    for value in expected["values"]:
        found = exact_duplicate_equivalent(curve, value["phi_fuz"], smoothing="none")
        assert found.rho == pytest.approx(value["rho"], abs=1e-9)


@pytest.mark.parametrize("name", EDGES)
def test_edge_cases(name: str) -> None:
    curve, auc, copies, branch, flags = EDGES[name]
    found = exact_duplicate_equivalent(curve, auc)
    assert found.copies == pytest.approx(10.0 if copies is None else copies, abs=1e-9)
    assert found.rho == pytest.approx((found.copies - 1) / 9)
    assert found.branch == branch
    assert set(found.flags) == flags
    assert set(found.flags) <= set(FLAGS)


HOSTILE = {
    # curve, AUC -> copies and flags without smoothing; copies isotonic
    "flat, at it": ([0.6] * 4, 0.6, 1.0, {"flat", "not_rising", "flat_start", "ambiguous"}, 2.5),
    "flat, above it": ([0.6] * 4, 0.7, 4.0, {"flat", "not_rising", "flat_end", "extrapolated"}, 4),
    "flat, below it": ([0.6] * 4, 0.5, 1.0, {"flat", "not_rising", "flat_start", "clamped"}, 1),
    "falling": ([0.9, 0.8, 0.7], 0.75, 2.5, {"falling_start", "not_rising", "not_monotone"}, 1),
    "one dip": (
        [0.5, 0.7, 0.6, 0.8],
        0.65,
        3.25,
        {"not_monotone", "several_brackets"},
        2.5,
    ),
    "level inside": ([0.5, 0.6, 0.6, 0.7], 0.6, 3.0, {"ambiguous"}, 2.5),
    "level start": ([0.5, 0.5, 0.6], 0.5, 1.0, {"flat_start", "ambiguous"}, 1.5),
    "level start, below": ([0.5, 0.5, 0.6], 0.4, 1.0, {"flat_start", "clamped"}, 1.0),
    "peak": ([0.5, 0.9, 0.7], 0.8, 3.0 + 0.1 / 0.3, {"extrapolated", "falling_end"}, 3.0),
    "two copies": ([0.5, 0.7], 0.6, 1.5, set(), 1.5),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_curves_give_a_number_and_say_why(name: str) -> None:
    curve, auc, copies, flags, of_isotonic = HOSTILE[name]
    found = exact_duplicate_equivalent(curve, auc, smoothing="none")
    assert found.copies == pytest.approx(copies)
    assert flags <= set(found.flags)
    assert bool(flags) == bool(found.flags)
    iso = exact_duplicate_equivalent(curve, auc, smoothing="isotonic")
    if name == "peak":  # 0.5 .8 .8: level at the AUC
        assert iso.copies == pytest.approx(2.5) and "ambiguous" in iso.flags
    else:
        assert iso.copies == pytest.approx(of_isotonic)
    if "not_monotone" in flags:
        assert "pooled" in iso.flags and "not_monotone" not in iso.flags


@pytest.mark.parametrize(
    ("curve", "auc"),
    [
        ([], 0.5),
        ([0.5], 0.5),
        ([[0.5, 0.6]], 0.5),
        ([0.5, math.nan], 0.5),
        ([0.5, 0.6], math.nan),
        ([0.5, 1.2], 0.5),
        ([0.5, 0.6], -0.1),
        ([0.5, math.inf], 0.5),
    ],
)
def test_what_is_no_curve_is_refused(curve: list[float], auc: float) -> None:
    with pytest.raises(UserError):
        exact_duplicate_equivalent(curve, auc)


@pytest.mark.parametrize(
    ("curve", "auc", "said"),
    [
        ([0.5, 0.6], None, "fuzzy_auc: NoneType"),
        ([0.5, 0.6], "0.8", "fuzzy_auc: str"),
        ([0.5, 0.6], [0.8], "fuzzy_auc: list of 1 dim"),
        ((one for one in (0.5, 0.6)), 0.5, "auc_by_copies: generator"),
        ([[0.5, 0.6]], 0.5, "auc_by_copies: list of 2 dim"),
        ([[0.5], [0.6, 0.7]], 0.5, "auc_by_copies: list"),
        ([0.5, "0.6"], 0.5, "auc_by_copies: list"),
        ([61, 70], 0.5, "2 of 2 are not, the first 61"),
        ([0.5, 0.6], 70, "fuzzy_auc: 1 of 1 are not, the first 70"),
    ],
)
def test_values_of_other_kinds_are_refused_in_three_lines(
    curve: Any,  # noqa: ANN401
    auc: Any,  # noqa: ANN401
    said: str,
) -> None:
    with pytest.raises(DataError) as caught:
        exact_duplicate_equivalent(curve, auc)
    assert said in caught.value.values and len(str(caught.value).splitlines()) == 3
    assert ("Divide percent" in caught.value.fix) == ("are not" in said)


def test_an_unknown_smoothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="moving_average, none, isotonic"):
        exact_duplicate_equivalent([0.5, 0.6], 0.5, smoothing="spline")  # type: ignore[arg-type]


AUCS = st.floats(0, 1)
CURVES = st.lists(AUCS, min_size=2, max_size=20)
RISING = (
    st.sampled_from([2, 3, 10, 20])
    .flatmap(lambda n: st.lists(st.integers(1, 50), min_size=n, max_size=n))
    .map(lambda steps: [0.02 + 0.9 * sum(steps[: i + 1]) / sum(steps) for i in range(len(steps))])
)
WAYS = st.sampled_from(["moving_average", "none", "isotonic"])


@given(RISING, st.data())
def test_exact_copies_are_worth_themselves(curve: list[float], data: st.DataObject) -> None:
    n = data.draw(st.integers(1, len(curve)))
    ways: tuple[Smoothing, ...] = ("none", "isotonic")
    for way in ways:
        found = exact_duplicate_equivalent(curve, curve[n - 1], smoothing=way)
        assert found.rho == pytest.approx((n - 1) / (len(curve) - 1), abs=1e-9)
        assert not found.flags


@given(RISING, AUCS, AUCS, WAYS)
def test_a_higher_auc_is_worth_more(curve: list[float], a: float, b: float, way: Smoothing) -> None:
    low, high = (exact_duplicate_equivalent(curve, one, smoothing=way) for one in sorted([a, b]))
    assert low.copies <= high.copies + 1e-9


@given(RISING, AUCS, WAYS, st.floats(0.1, 1))
def test_only_the_shape_of_a_curve_counts(
    curve: list[float], auc: float, way: Smoothing, scale: float
) -> None:
    whole = exact_duplicate_equivalent(curve, auc, smoothing=way)
    shrunk = [scale * one for one in curve]
    other = exact_duplicate_equivalent(shrunk, scale * auc, smoothing=way)
    assert other.copies == pytest.approx(whole.copies, rel=1e-6)


@given(CURVES, AUCS, WAYS)
def test_every_curve_gives_a_finite_number(curve: list[float], auc: float, way: Smoothing) -> None:
    found = exact_duplicate_equivalent(curve, auc, smoothing=way)
    assert math.isfinite(found.copies) and found.copies >= 1
    assert found.rho == pytest.approx((found.copies - 1) / (len(curve) - 1))
    if found.copies > len(curve) + 1e-9:
        assert {"extrapolated", "falling_start"} & set(found.flags)


@given(st.lists(st.integers(0, 100), min_size=2, max_size=12), st.integers(0, 100))
def test_any_curve_is_read_as_published(hundredths: list[int], auc: int) -> None:
    """Where the published rule has a number, it is this one."""
    curve = [one / 100 for one in hundredths]
    found = exact_duplicate_equivalent(curve, auc / 100, smoothing="none")
    if {"flat_start", "flat_end"} & set(found.flags):
        return
    assert found.copies == pytest.approx(as_published(curve, auc / 100), abs=1e-9)


@given(st.lists(CURVES.filter(lambda one: len(one) >= 5).map(lambda one: one[:5]), min_size=1))
def test_isotonic_curves_are_those_of_pooling(curves: list[list[float]]) -> None:
    expected = [pooled(curve) for curve in curves]
    np.testing.assert_allclose(isotonic(np.array(curves)), expected, atol=1e-12)
