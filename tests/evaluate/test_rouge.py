"""ROUGE-L and exact match: every golden case by name, and rouge_score itself as the oracle."""

from __future__ import annotations

import json
import math
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from stillage.errors import DataError
from stillage.evaluate.rouge import exact_match, normalise, rouge_l, rouge_l_published
from stillage.functional.words import invisible

ROOT = Path(__file__).parents[2]
CASES: dict[str, dict[str, Any]] = {
    case["name"]: case
    for case in json.loads((ROOT / "tests/golden/text_overlap_metrics.json").read_text())["cases"]
}
PAIRS = [name for name in CASES if name.startswith("pair_")]
DIFFERENT = {"corpus_length_mismatch", "corpus_fewer_references"}
WORDLESS = {"pair_03", "pair_04", "pair_05", "pair_12", "pair_13", "pair_14", "pair_23"}
"""Pairs in which the published measure sees no word in the reference: no number of ours, 0 as published."""


MEANT = {"pair_17"}
"""Pairs that the published exact match takes for equal since it leaves out what is meant."""


def percent(values: list[float] | list[bool]) -> float:
    return round(100 * sum(values) / len(values), 4)


def as_published(
    predictions: list[str], references: list[list[str]]
) -> tuple[list[float], list[bool]]:
    """ROUGE-L and exact match with the published numbers where ours are none, or where punctuation alone, or without a point, counted as equal."""
    overlap = [
        0.0 if math.isnan(one) else one for one in rouge_l_published(predictions, references)
    ]
    bare = [
        (not normalise(one) and any(not normalise(other) for other in some))
        or (one, *some) == ("3.14", "314")
        for one, some in zip(predictions, references, strict=True)
    ]
    return overlap, [
        one or other for one, other in zip(exact_match(predictions, references), bare, strict=True)
    ]


def test_every_case_is_reproduced_or_listed() -> None:
    page = (ROOT / "docs/explanation/differences.md").read_text()
    section = page.split("## Text overlap metrics")[1].split("\n## ")[0]
    listed = {
        line.split("|")[1].strip(" `") for line in section.splitlines() if line.startswith("| `")
    }
    assert listed == DIFFERENT | WORDLESS | MEANT
    assert set(CASES) == {*PAIRS, "corpus_all", "corpus_grouped", *DIFFERENT}


@pytest.mark.parametrize("name", PAIRS)
def test_golden_pairs(name: str) -> None:
    prediction, references = (
        CASES[name]["options"]["prediction"],
        CASES[name]["options"]["references"],
    )
    expected = CASES[name]["expected"]
    overlap, exact = as_published([prediction] * len(references), [[one] for one in references])
    assert overlap == pytest.approx(expected["rougeL"], abs=1e-15)
    assert exact == expected["exact_match"]
    assert as_published([prediction], [references])[1] == [expected["max_exact_match"]]
    assert name in WORDLESS | MEANT or exact_match([prediction], [references]) == [
        expected["max_exact_match"]
    ]
    best = rouge_l_published([prediction], [references])
    assert (
        math.isnan(best[0])
        if name in WORDLESS
        else best == pytest.approx([expected["max_rougeL"]], abs=1e-15)
    )
    assert name in MEANT or normalise(prediction) == unicodedata.normalize(
        "NFKC", expected["normalized_prediction"]
    )


def test_golden_corpora() -> None:
    options, expected = CASES["corpus_all"]["options"], CASES["corpus_all"]["expected"]
    predictions, references = options["predictions"], options["references"]
    overlap, exact = as_published(predictions, references)
    assert (percent(overlap), percent(exact)) == (expected["rougeL"], expected["exact_match"])
    grouped = CASES["corpus_grouped"]
    groups = grouped["options"]["groups"]
    for group in set(groups):
        mine = [index for index, name in enumerate(groups) if name == group]
        assert (
            percent([overlap[index] for index in mine])
            == grouped["expected"][f"rougeL_for_{group}"]
        )
        assert (
            percent([exact[index] for index in mine])
            == grouped["expected"][f"exact_match_for_{group}"]
        )


@pytest.mark.parametrize("name", sorted(DIFFERENT))
def test_lists_of_different_length_are_refused_not_trimmed(name: str) -> None:
    whole, options, expected = (
        CASES["corpus_all"]["options"],
        CASES[name]["options"],
        CASES[name]["expected"],
    )
    predictions = whole["predictions"][: options["n_predictions"]]
    references = whole["references"][: options["n_references"]]
    for metric in (rouge_l, rouge_l_published, exact_match):
        with pytest.raises(
            DataError, match=f"{len(predictions)} predictions, {len(references)} lists"
        ):
            metric(predictions, references)
    both = min(len(predictions), len(references))  # what the published code scores in silence
    overlap, exact = as_published(predictions[:both], references[:both])
    assert (percent(overlap), percent(exact)) == (expected["rougeL"], expected["exact_match"])


def test_a_prediction_without_reference_is_refused() -> None:
    with pytest.raises(DataError, match="number 2"):
        rouge_l(["a", "b"], [["a"], []])


WORDS = st.lists(
    st.sampled_from(
        ["the", "dogs", "dog", "running", "runs", "I", "1,000", "naïve", "happily", "happy"]
    ),
    max_size=12,
)

ASCII = st.text("".join(one for one in map(chr, range(128)) if not invisible(one)), max_size=30)


def same(ours: float, theirs: float) -> bool:
    return ours == theirs or (math.isnan(ours) and math.isnan(theirs))


@settings(max_examples=150, deadline=None)
@given(
    WORDS.map(" ".join) | st.text(max_size=30),
    st.lists(WORDS.map(" ".join) | st.text(max_size=30), min_size=1, max_size=3),
)
def test_the_published_one_is_that_of_rouge_score_or_has_no_number(
    prediction: str, references: list[str]
) -> None:
    scorer = RougeScorer(["rougeL"], use_stemmer=True)
    expected = max(
        scorer.score(reference, prediction)["rougeL"].fmeasure for reference in references
    )
    found = rouge_l_published([prediction], [references])[0]
    assert found == expected or (math.isnan(found) and expected == 0)


@settings(max_examples=150, deadline=None)
@given(
    WORDS.map(" ".join).filter(str.isascii) | ASCII,
    st.lists(ASCII, min_size=1, max_size=3),
)
def test_ascii_texts_have_one_rouge_l(prediction: str, references: list[str]) -> None:
    assert same(
        rouge_l([prediction], [references])[0], rouge_l_published([prediction], [references])[0]
    )


@pytest.mark.parametrize(
    ("answer", "half"),
    [
        ("我有三只黑色的猫。", "我有三只"),
        ("Привет, весь мир!", "привет, мир"),
        ("مرحبا بكل العالم", "مرحبا العالم"),
        ("ฉันชอบแมวดำ", "ฉันชอบ"),
        ("私は黒い猫が好きです", "私は猫が好きです"),
        ("나는 검은 고양이를 좋아한다", "나는 고양이를 좋아한다"),
        ("मुझे काली बिल्ली पसंद है", "मुझे बिल्ली पसंद है"),
    ],
)
def test_other_scripts_have_words(answer: str, half: str) -> None:
    assert rouge_l([answer], [[answer]]) == [1.0]
    assert 0.4 < rouge_l([half], [[answer]])[0] < 1
    assert rouge_l(["something else"], [[answer]]) == rouge_l([""], [[answer]]) == [0.0]
    assert math.isnan(rouge_l_published([answer], [[answer]])[0])


def test_an_answer_that_the_published_measure_cannot_see_has_no_number() -> None:
    assert rouge_l_published(["Привет", "hello", ""], [["hello"], ["hello"], ["hello"]])[1:] == [
        1.0,
        0.0,
    ]
    assert math.isnan(rouge_l_published(["Привет"], [["hello"]])[0])
    assert math.isnan(rouge_l(["x"], [["..."]])[0])
    assert rouge_l(["x"], [["...", "x"]]) == [1.0]


def test_exact_match_sees_no_difference_between_compositions_and_no_equality_of_punctuation() -> (
    None
):
    composed, apart = "caf\u00e9 \u1e9b\u0323", "cafe\u0301 \u1e9b\u0323"
    assert exact_match([composed], [[apart]]) == [True]
    assert exact_match(["?", " ! ", "", "x"], [["!"], ["!"], ["!"], ["!"]]) == [
        False,
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("-5", "5"),
        ("x is -5.", "x is 5."),
        ("3 + 4 * 5", "3 - 4 / 5"),
        ("3*4", "3/4"),
        ("2**3", "23"),
        ("3.14", "314"),
        (".5", "5"),
        ("5%", "5"),
        ("x < 5", "x > 5"),
        ("\u22125", "5"),
        ("C++", "C#"),
        ("C", "C#"),
        ("A+", "A"),
        ("😀", "😢"),
    ],
)
def test_a_sign_that_is_meant_makes_another_answer(one: str, other: str) -> None:
    assert exact_match([one, other, one], [[other], [one], [one]]) == [False, False, True]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("他是医生，住在北京。", "他是医生,住在北京."),
        ("“是”", "是"),
        ("¿Sí?", "sí"),
        ("１２３", "123"),
        ("ｶﾞｽ", "ガス"),
        ("\u22125", "-5"),
        ("3 × 4 ÷ 2", "3 * 4 / 2"),
        ("**5**", "5"),
        ("covid-19", "covid19"),
        ("1,000 (approx.)", "1000 approx"),
        ("Answer: - 5 apples", "answer 5 apples"),
        ("It's 5.", "its 5"),
        ("#5, $7!", "5 7"),
    ],
)
def test_punctuation_of_any_script_and_width_make_no_other_answer(one: str, other: str) -> None:
    assert exact_match([one, other], [[other], [one]]) == [True, True]


def test_full_and_half_width_have_one_rouge_l() -> None:
    assert rouge_l(["１２３ cats", "ｶﾀｶﾅ"], [["123 cats"], ["カタカナ"]]) == [1.0, 1.0]
    assert rouge_l_published(["１２３ cats"], [["123 cats"]])[0] < 1
