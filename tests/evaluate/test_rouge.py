"""ROUGE-L and exact match: every golden case by name, and rouge_score itself as the oracle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from stillage.errors import DataError
from stillage.evaluate.rouge import exact_match, normalise, rouge_l

ROOT = Path(__file__).parents[2]
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case for case in json.loads((ROOT / "tests/golden/text_overlap_metrics.json").read_text())["cases"]
}
PAIRS = [name for name in CASES if name.startswith("pair_")]
DIFFERENT = {"corpus_length_mismatch", "corpus_fewer_references"}


def percent(values: list[float] | list[bool]) -> float:
    return round(100 * sum(values) / len(values), 4)


def test_every_case_is_reproduced_or_listed() -> None:
    page = (ROOT / "docs/explanation/differences.md").read_text()
    section = page.split("## Text overlap metrics")[1].split("\n## ")[0]
    listed = {line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| `")}
    assert listed == DIFFERENT
    assert set(CASES) == {*PAIRS, "corpus_all", "corpus_grouped", *DIFFERENT}


@pytest.mark.parametrize("name", PAIRS)
def test_golden_pairs(name: str) -> None:
    prediction, references = CASES[name]["options"]["prediction"], CASES[name]["options"]["references"]
    expected = CASES[name]["expected"]
    assert [exact_match([prediction], [[one]])[0] for one in references] == expected["exact_match"]
    assert [rouge_l([prediction], [[one]])[0] for one in references] == pytest.approx(expected["rougeL"], abs=1e-15)
    assert exact_match([prediction], [references]) == [expected["max_exact_match"]]
    assert rouge_l([prediction], [references]) == pytest.approx([expected["max_rougeL"]], abs=1e-15)
    assert normalise(prediction) == expected["normalized_prediction"]


def test_golden_corpora() -> None:
    options, expected = CASES["corpus_all"]["options"], CASES["corpus_all"]["expected"]
    predictions, references = options["predictions"], options["references"]
    overlap, exact = rouge_l(predictions, references), exact_match(predictions, references)
    assert (percent(overlap), percent(exact)) == (expected["rougeL"], expected["exact_match"])
    grouped = CASES["corpus_grouped"]
    groups = grouped["options"]["groups"]
    for group in set(groups):
        mine = [index for index, name in enumerate(groups) if name == group]
        assert percent([overlap[index] for index in mine]) == grouped["expected"][f"rougeL_for_{group}"]
        assert percent([exact[index] for index in mine]) == grouped["expected"][f"exact_match_for_{group}"]


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_lists_of_different_length_are_refused_not_trimmed(name: str) -> None:
    whole, options, expected = CASES["corpus_all"]["options"], CASES[name]["options"], CASES[name]["expected"]
    predictions = whole["predictions"][: options["n_predictions"]]
    references = whole["references"][: options["n_references"]]
    for metric in (rouge_l, exact_match):
        with pytest.raises(DataError, match=f"{len(predictions)} predictions, {len(references)} lists"):
            metric(predictions, references)
    both = min(len(predictions), len(references))  # what the published code scores in silence
    assert percent(rouge_l(predictions[:both], references[:both])) == expected["rougeL"]
    assert percent(exact_match(predictions[:both], references[:both])) == expected["exact_match"]


def test_a_prediction_without_reference_is_refused() -> None:
    with pytest.raises(DataError, match="number 2"):
        rouge_l(["a", "b"], [["a"], []])


WORDS = st.lists(
    st.sampled_from(["the", "dogs", "dog", "running", "runs", "I", "1,000", "naïve", "happily", "happy"]), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(
    WORDS.map(" ".join) | st.text(max_size=30),
    st.lists(WORDS.map(" ".join) | st.text(max_size=30), min_size=1, max_size=3),
)
def test_equal_to_rouge_score(prediction: str, references: list[str]) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    expected = max(scorer.score(reference, prediction)["rougeL"].fmeasure for reference in references)
    assert rouge_l([prediction], [references]) == [expected]
