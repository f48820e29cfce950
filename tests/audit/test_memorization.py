"""Measures of one recital: the published numbers, brute force, and counterfactual memorization under a known truth."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from stillage.audit.counterfactual import counterfactual_memorization
from stillage.audit.extraction import Target
from stillage.audit.inheritance import TAUS, inheritance_curve
from stillage.audit.memorization import (
    MEASURES,
    extraction_strength,
    matched_prefix_share,
    memorization_results,
    memorization_table,
    normalised_edit_distance,
    positional_accuracy,
)
from stillage.audit.probabilistic import probabilistic_results
from stillage.errors import DataError
from stillage.functional.stats import share_interval
from stillage.types import Result, TokenStats

ROOT = Path(__file__).parents[2]
GOLDEN = json.loads((ROOT / "tests/golden/memorization_metrics.json").read_text())
TENSORS = load_file(ROOT / "tests/golden/memorization_metrics.safetensors")
CASES = {case["name"]: case for case in GOLDEN["cases"]}
BASE = Result(run="r", stage="audit", model="", metric="", value=0.0)
MODEL_TYPES = ("gpt2", "opt")
ids_lists = st.lists(st.integers(0, 4), max_size=9)


def levenshtein(a: list[int], b: list[int]) -> int:
    """The textbook table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        previous, row = row, [i]
        for j, y in enumerate(b, 1):
            row.append(min(previous[j] + 1, row[j - 1] + 1, previous[j - 1] + (x != y)))
    return row[-1]


@pytest.mark.parametrize("case", [f"edit_similarity/{i}" for i in range(4)])
def test_golden_edit_similarity(case: str) -> None:
    options, answer = CASES[case]["options"], CASES[case]["expected"]
    distance = normalised_edit_distance(np.array(options["seq1"]), np.array(options["seq2"]))
    assert 1 - distance == pytest.approx(answer["edit_similarity"], abs=1e-12)
    longest = max(len(options["seq1"]), len(options["seq2"]))
    assert distance * longest == pytest.approx(answer["edit_distance"])


def accuracies(model_type: str, key: str) -> tuple[np.ndarray, np.ndarray]:
    """Our positional accuracy of the first 32 tokens per record, and how many there are, on that code's targets."""
    options = CASES[f"student_given_teacher/{model_type}"]["options"]
    targets = [target[model_type == "opt" :][:32] for target in options["targets"]]
    pairs = zip(options[key], targets, strict=True)
    return np.array([positional_accuracy(said, target) for said, target in pairs]), np.array(
        [*map(len, targets)]
    )


def padded(model_type: str, key: str) -> np.ndarray:
    """The same with that code's padding: -100 on both sides, equal to itself, 32 positions always."""
    options = CASES[f"student_given_teacher/{model_type}"]["options"]
    hits = []
    for said, target in zip(options[key], options["targets"], strict=True):
        target = target[model_type == "opt" :]
        rows = [
            ([-100 if t == options["pad_token_id"] else t for t in x] + [-100] * 40)[:32]
            for x in (said, target)
        ]
        hits.append(np.array(rows[0]) == np.array(rows[1]))
    return np.array(hits)


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_deviation_padding_counts_as_memorized(model_type: str) -> None:
    """Their numbers come out when pads are compared; ours when they are not, and full records agree."""
    case = CASES[f"token_match_first_32/{model_type}"]
    ours, lengths = accuracies(model_type, "generations")
    theirs = padded(model_type, "generations")
    np.testing.assert_array_equal(theirs, TENSORS[case["expected"]["memorized"]])
    assert theirs.mean() == pytest.approx(case["expected"]["accuracy"])
    full = lengths == 32
    np.testing.assert_allclose(ours[full], theirs.mean(1)[full])
    assert full.any() and not full.all()
    pooled = float((ours * lengths).sum() / lengths.sum())
    assert pooled < case["expected"]["accuracy_over_valid"]  # that numerator still holds the pads


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_deviation_curve_over_padded_shares(model_type: str) -> None:
    """From their own shares our curve gives their numbers; the shares differ by the pads alone."""
    answer = CASES[f"student_given_teacher/{model_type}"]["expected"]
    teacher, student = (
        TENSORS[answer[f"{name}_ratio_per_sample"]] for name in ("teacher", "student")
    )
    np.testing.assert_allclose(padded(model_type, "teacher_generations").mean(1), teacher)
    np.testing.assert_allclose(padded(model_type, "generations").mean(1), student)
    for point in inheritance_curve(teacher, student, TAUS):
        key = f"{point.tau:g}"
        assert point.n == answer["number_of_those"][key]
        assert point.share == pytest.approx(answer["fraction_of_samples_teacher_above"][key])
        published = float(answer["student_mean_ratio_on_those"][key])
        assert point.value == pytest.approx(published, nan_ok=True)
    ours, _ = accuracies(model_type, "teacher_generations")
    assert (ours != teacher).any()


def test_every_golden_case_is_reproduced_or_listed_with_its_reason() -> None:
    page = (ROOT / "docs/explanation/differences.md").read_text()
    section = page.split("## Memorization metrics", 1)[1].split("\n## ", 1)[0]
    listed = {
        case for case in CASES if re.search(rf"^\| `{re.escape(case)}`", section, re.MULTILINE)
    }
    reproduced = {f"edit_similarity/{i}" for i in range(4)}
    assert listed | reproduced == set(CASES) and not listed & reproduced


@given(said=ids_lists, true=ids_lists)
def test_measures_against_their_definitions(said: list[int], true: list[int]) -> None:
    a, b = np.array(said, int), np.array(true, int)
    longest = max(len(said), len(true))
    assert normalised_edit_distance(a, b) == pytest.approx(
        levenshtein(said, true) / longest if longest else 0.0
    )
    if not true:
        assert math.isnan(positional_accuracy(a, b)) and math.isnan(matched_prefix_share(a, b))
        return
    hits = [i < len(said) and said[i] == token for i, token in enumerate(true)]
    assert positional_accuracy(a, b) == pytest.approx(sum(hits) / len(true))
    first_miss = next((i for i, hit in enumerate(hits) if not hit), len(true))
    assert matched_prefix_share(a, b) == pytest.approx(first_miss / len(true))


@given(st.lists(st.booleans(), min_size=1, max_size=12))
def test_extraction_strength_is_the_longest_suffix_recited(hits: list[bool]) -> None:
    size = len(hits)
    k = next(k for k in range(size + 1) if all(hits[k:]))  # tokens that must be given
    assert extraction_strength(np.array(hits)) == pytest.approx(1 - k / size)


def test_extraction_strength_at_its_ends() -> None:
    assert extraction_strength(np.array([True, True, False])) == 0
    assert extraction_strength(np.array([False] * 5)) == 0
    assert extraction_strength(np.array([True] * 5)) == 1
    assert math.isnan(extraction_strength(np.array([], bool)))


def test_the_table_and_its_means() -> None:
    def target(part: str, name: str) -> Target:
        return Target(
            record_id=name,
            part=part,
            prefix_ids=np.array([1]),
            suffix_ids=np.array([5, 6, 7, 8]),
            scored_from=1,
            text="red green blue white",
        )

    def stats(logp: list[float], greedy: list[bool]) -> TokenStats:
        zero = np.zeros(5, np.float32)
        return TokenStats(
            ids_T=np.arange(5),
            logp_T=np.array(logp, np.float32),
            mean_T=zero,
            var_T=zero,
            rank_T=zero.astype(int),
            greedy_T=np.array(greedy),
        )

    targets = [target("private", "a"), target("nonmembers", "b")]
    scored = {
        "a": stats([-9, 0, 0, 0, 0], [False] + [True] * 4),
        "b": stats([-9, -1, -2, -3, -4], [True, False, True, True, True]),
    }
    said = [np.array([5, 6, 7, 8]), np.array([0, 6, 7])]
    table = memorization_table(
        "m", targets, said, scored, ["red green blue white", "black green blue"]
    )
    first, second = table.to_pylist()
    assert (first["exact"], first["matched_prefix"], first["positional_accuracy"]) == (
        True,
        1.0,
        1.0,
    )
    assert (first["edit_distance"], first["recital_rouge_l"], first["extraction_strength"]) == (
        0.0,
        1.0,
        1.0,
    )
    assert (second["exact"], second["matched_prefix"], second["positional_accuracy"]) == (
        False,
        0.0,
        0.5,
    )
    assert (second["edit_distance"], second["extraction_strength"], second["suffix_logp"]) == (
        0.5,
        0.75,
        -10.0,
    )
    assert second["recital_rouge_l"] == pytest.approx(2 * (2 / 3) * (2 / 4) / (2 / 3 + 2 / 4))
    results = memorization_results(pa.concat_tables([table, table]), level=0.9, base=BASE)
    assert len(results) == 10 and {row.n for row in results} == {2}
    row = next(r for r in results if (r.dataset, r.metric) == ("nonmembers", "edit_distance"))
    assert (row.value, row.model, row.level) == (0.5, "m", 0.9) and row.low < 0.5 < row.high


def test_a_record_without_a_target_has_no_measure_and_is_counted() -> None:
    """Nothing was asked for: neither recited, nor of probability 1, nor at distance 0."""
    none = Target(
        record_id="a",
        part="private",
        prefix_ids=np.array([1]),
        suffix_ids=np.array([], int),
        scored_from=0,
        text="",
    )
    some = replace(none, record_id="b", suffix_ids=np.array([5]), text="red")
    zero = np.zeros(1, np.float32)
    stats = TokenStats(
        ids_T=np.array([5]),
        logp_T=zero,
        mean_T=zero,
        var_T=zero,
        rank_T=np.zeros(1, int),
        greedy_T=zero == 0,
    )
    table = memorization_table(
        "m", [none, some], [np.array([], int), np.array([5])], {"a": stats, "b": stats}, ["", "red"]
    )
    first, second = table.to_pylist()
    assert first["exact"] is False and all(
        math.isnan(first[name]) for name in (*MEASURES, "suffix_logp")
    )
    assert second["exact"] and second["recital_rouge_l"] == 1 and second["suffix_logp"] == 0
    results = memorization_results(table, level=0.95, base=BASE)
    assert {row.n for row in results} == {1} and {
        (row.missing, row.missing_reason) for row in results
    } == {(1, "no token to recite")}
    rates = probabilistic_results(table, level=0.95, base=BASE, samples=(1,), probabilities=(0.5,))
    assert rates[0].value == 0.5 and rates[0].missing == 1


def test_share_interval_covers_and_never_collapses() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(500):
        covered += share_interval(rng.beta(2, 3, 40)).contains(0.4)
    assert covered / 500 > 0.92
    full = share_interval(np.ones(10))
    assert (full.value, full.high) == (1.0, 1.0) and full.low == pytest.approx(0.025**0.1)
    half = share_interval(
        np.full(10, 0.5)
    )  # ten equal values: up to a share 1 - 0.025^(1/10) of zeros beside them is unseen
    assert (half.low, half.high) == pytest.approx((0.5 * 0.025**0.1, 1 - 0.5 * 0.025**0.1))
    assert math.isnan(share_interval(np.array([])).value)


def test_near_duplicates_count_once_in_the_interval_of_a_mean() -> None:
    rng, covered, plain = np.random.default_rng(1), 0, 0
    clusters = np.repeat(np.arange(40), 4)
    for _ in range(300):
        values = np.repeat(rng.beta(2, 3, 40), 4)
        covered += share_interval(values, clusters=clusters).contains(0.4)
        plain += share_interval(values).contains(0.4)
    assert covered / 300 > 0.92 and plain / 300 < 0.8
    values = rng.random(30)
    alone = share_interval(values, clusters=rng.permutation(30))
    assert (alone.low, alone.high) == pytest.approx(
        (share_interval(values).low, share_interval(values).high)
    )
    repeated = share_interval(np.repeat(values, 3), clusters=np.repeat(np.arange(30), 3))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high))
    assert share_interval(np.ones(12), clusters=np.arange(12) // 4).low == pytest.approx(
        0.025 ** (1 / 3)
    )


def test_counterfactual_memorization_finds_what_only_models_in_know() -> None:
    rng = np.random.default_rng(3)
    truth_N = np.array([0.0, 0.5, 1.0])
    covered, means = np.zeros(3), []
    for _ in range(150):
        is_in_MN = np.array([rng.permutation(16) < 8 for _ in range(3)]).T
        scores_MN = rng.normal(0, 0.4, (16, 3)) + np.array([0.0, 2.0, -1.0]) + truth_N * is_in_MN
        found = counterfactual_memorization(scores_MN, is_in_MN, rng, n_resamples=400)
        covered += (found.low_N <= truth_N) & (truth_N <= found.high_N)
        means.append(found.value_N)
    assert np.mean(means, axis=0) == pytest.approx(truth_N, abs=0.05)
    assert (covered / 150 >= 0.9).all()


def test_counterfactual_memorization_by_hand_and_where_it_is_undefined() -> None:
    scores = np.array([[1.0, 5.0, 0.0], [0.0, 5.0, 1.0], [0.5, 5.0, 2.0], [0.0, 5.0, 4.0]])
    design = np.array([[1, 1, 1], [1, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    found = counterfactual_memorization(scores, design, np.random.default_rng(0))
    assert (
        found.value_N[0] == pytest.approx(0.25)
        and math.isnan(found.value_N[1])
        and np.isnan(found.value_N).sum() == 1
    )
    assert found.value_N[2] == pytest.approx(-7 / 3) and math.isnan(
        found.low_N[2]
    )  # one model is no scatter
    assert found.low_N[0] < 0.25 < found.high_N[0]
    assert found.mean.value == pytest.approx((0.25 - 7 / 3) / 2)
    with pytest.raises(DataError, match="every record under every model"):
        counterfactual_memorization(np.where(design, np.nan, 1.0), design, np.random.default_rng(0))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_counterfactual_chunks_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, design = rng.normal(size=(8, 30)), rng.random((8, 30)) < 0.5
    with pytest.MonkeyPatch.context() as patch:
        whole = counterfactual_memorization(
            scores, design, np.random.default_rng(1), n_resamples=50
        )
        patch.setattr("stillage.audit.counterfactual.CHUNK", 50 * 7)
        parts = counterfactual_memorization(
            scores, design, np.random.default_rng(1), n_resamples=50
        )
    np.testing.assert_allclose(parts.low_N, whole.low_N)
    assert parts.mean.low == pytest.approx(whole.mean.low, nan_ok=True)
