"""Corpus BLEU and chrF: sacrebleu's own functions are the oracle."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from stillage.errors import DataError
from stillage.evaluate.bleu import bleu_tokenizer, corpus_overlap, jackknife_limits, signatures

PREDICTIONS = [
    "the cat sat on the mat .",
    "a dog ran home quickly today",
    "",
    "nothing in common",
    "it is what it is",
]
REFERENCES = [
    ["the cat sat on a mat .", "on the mat the cat sat ."],
    ["a dog ran home quickly tonight"],
    ["an answer", "x", "y"],
    ["zzz"],
    ["it is what it was", "it is what it is indeed"],
]


def published(rows: list[int]) -> tuple[float, float]:
    """sacrebleu on the chosen rows."""
    streams = [
        [REFERENCES[r][k] if k < len(REFERENCES[r]) else None for r in rows] for k in range(3)
    ]
    predictions = [PREDICTIONS[r] for r in rows]
    return BLEU().corpus_score(predictions, streams).score, CHRF().corpus_score(
        predictions, streams
    ).score


def test_the_values_are_sacrebleus() -> None:
    found = corpus_overlap(PREDICTIONS, REFERENCES)
    bleu, chrf = published([0, 1, 2, 3, 4])
    assert found["bleu"].value == pytest.approx(bleu, abs=1e-9) and found[
        "chrf"
    ].value == pytest.approx(chrf, abs=1e-9)
    assert math.isnan(found["bleu"].low)  # five records are too few


def corpus(n: int, seed: int) -> tuple[list[str], list[list[str]]]:
    """n answers that keep about half of their references' words, and the references."""
    rng, references, answers = np.random.default_rng(seed), [], []
    for _ in range(n):
        words, other = rng.integers(40, size=(2, 12))
        references.append([" ".join(f"w{k}" for k in words)])
        answers.append(
            " ".join(f"w{k}" for k in np.where(rng.random(12) < rng.random(), words, other))
        )
    return answers, references


def test_the_limits_are_the_jackknifes_and_near_duplicates_count_once() -> None:
    answers, references = corpus(24, 1)
    found = corpus_overlap(answers, references, level=0.9)
    for name, metric in (("bleu", BLEU(force=True)), ("chrf", CHRF())):

        def score(rows: list[int], metric: BLEU | CHRF = metric) -> float:
            return metric.corpus_score(
                [answers[r] for r in rows], [[references[r][0] for r in rows]]
            ).score

        without = np.array([score([r for r in range(24) if r != k]) for k in range(24)])
        known = jackknife_limits(score(list(range(24))), without, 0.9)
        assert (found[name].low, found[name].high) == pytest.approx((known.low, known.high))
        assert 0 < known.low < known.value < known.high < 100
        error = math.sqrt(23 / 24 * float(((without - without.mean()) ** 2).sum()))
        assert known.high - known.low == pytest.approx(2 * 1.71 * error, rel=0.15)
    twice = corpus_overlap(
        answers * 2, references * 2, level=0.9, clusters=np.tile(np.arange(24), 2)
    )
    assert (twice["chrf"].low, twice["chrf"].high) == pytest.approx(
        (found["chrf"].low, found["chrf"].high), rel=1e-6
    )


def test_perfect_answers_score_100_and_have_no_interval() -> None:
    texts = [f"one two three four {k}" for k in range(30)]
    found = corpus_overlap(texts, [[text] for text in texts])
    assert all(one.value == pytest.approx(100) and math.isnan(one.low) for one in found.values())
    assert math.isnan(corpus_overlap([], [])["chrf"].value)


def test_lists_of_different_length_and_missing_references_are_refused() -> None:
    with pytest.raises(DataError, match="2 predictions, 1 lists"):
        corpus_overlap(["a", "b"], [["a"]])
    with pytest.raises(DataError, match="number 2"):
        corpus_overlap(["a", "b"], [["a"], []])


@pytest.mark.parametrize(
    "references", [[["a b"], ["c d"]], [["a", "b"], ["c", "d"]], [["a", "b"], ["c"]]]
)
def test_the_signature_is_what_sacrebleu_prints(references: list[list[str]]) -> None:
    streams = [
        [some[k] if k < len(some) else None for some in references]
        for k in range(max(map(len, references)))
    ]
    bleu, chrf = BLEU(force=True), CHRF()
    for metric in (bleu, chrf):
        metric.corpus_score(["a b", "c"], streams)
    assert signatures(references) == {
        "bleu": str(bleu.get_signature()),
        "chrf": str(chrf.get_signature()),
    }
    assert "nrefs:" in signatures(references)["bleu"]


@pytest.mark.parametrize(
    ("text", "tokenizer"),
    [
        ("我有三只黑色的猫，它们都很可爱。", "zh"),
        ("私は三匹の黒い猫を飼っています。", "char"),
        ("ฉันมีแมวดำสามตัว", "char"),
        ("У меня три чёрных кота.", "13a"),
        ("나는 검은 고양이 세 마리가 있다.", "13a"),
        ("I have three black cats (猫).", "13a"),
        ("...", "13a"),
    ],
)
def test_bleu_is_cut_by_the_script_of_the_references_and_says_so(text: str, tokenizer: str) -> None:
    assert bleu_tokenizer([[text]]) == tokenizer
    assert f"tok:{tokenizer}" in signatures([[text]])["bleu"]
    if text != "...":
        found = corpus_overlap([text, text[:-3]], [[text], [text]])
        assert 50 < found["bleu"].value < 100
