"""Corpus BLEU and chrF: sacrebleu's own functions are the oracle, also for every resample."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from stillage.errors import DataError
from stillage.evaluate.bleu import corpus_overlap, signatures, tokenizer_of

PREDICTIONS = ["the cat sat on the mat .", "a dog ran home quickly today", "", "nothing in common", "it is what it is"]
REFERENCES = [
    ["the cat sat on a mat .", "on the mat the cat sat ."], ["a dog ran home quickly tonight"], ["an answer", "x", "y"],
    ["zzz"], ["it is what it was", "it is what it is indeed"],
]  # fmt: skip


def published(rows: list[int]) -> tuple[float, float]:
    """sacrebleu on the chosen rows."""
    streams = [[REFERENCES[r][k] if k < len(REFERENCES[r]) else None for r in rows] for k in range(3)]
    predictions = [PREDICTIONS[r] for r in rows]
    return BLEU().corpus_score(predictions, streams).score, CHRF().corpus_score(predictions, streams).score


def test_value_and_bootstrap_are_sacrebleus() -> None:
    found = corpus_overlap(PREDICTIONS, REFERENCES, generator=np.random.default_rng(3), level=0.9, resamples=40)
    bleu, chrf = published([0, 1, 2, 3, 4])
    assert found["bleu"].value == pytest.approx(bleu, abs=1e-9) and found["chrf"].value == pytest.approx(chrf, abs=1e-9)
    weights = np.random.default_rng(3).multinomial(5, np.full(5, 0.2), size=40)
    draws = np.array([published(np.repeat(np.arange(5), weight).tolist()) for weight in weights])
    for k, name in enumerate(("bleu", "chrf")):
        assert [found[name].low, found[name].high] == pytest.approx(np.quantile(draws[:, k], [0.05, 0.95]), abs=1e-9)


def test_perfect_answers_score_100_and_one_record_has_no_interval() -> None:
    rng = np.random.default_rng(1)
    texts = ["one two three four five", "six seven eight nine ten"]
    found = corpus_overlap(texts, [[text] for text in texts], generator=rng)
    assert all(one.value == pytest.approx(100) and one.low == pytest.approx(100) for one in found.values())
    single = corpus_overlap(texts[:1], [texts[:1]], generator=rng)["bleu"]
    assert single.value == pytest.approx(100) and math.isnan(single.low)
    assert math.isnan(corpus_overlap([], [], generator=rng)["chrf"].value)


def test_lists_of_different_length_and_missing_references_are_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(DataError, match="2 predictions, 1 lists"):
        corpus_overlap(["a", "b"], [["a"]], generator=rng)
    with pytest.raises(DataError, match="number 2"):
        corpus_overlap(["a", "b"], [["a"], []], generator=rng)


@pytest.mark.parametrize("references", [[["a b"], ["c d"]], [["a", "b"], ["c", "d"]], [["a", "b"], ["c"]]])
def test_the_signature_is_what_sacrebleu_prints(references: list[list[str]]) -> None:
    streams = [[some[k] if k < len(some) else None for some in references] for k in range(max(map(len, references)))]
    bleu, chrf = BLEU(force=True), CHRF()
    for metric in (bleu, chrf):
        metric.corpus_score(["a b", "c"], streams)
    assert signatures(references) == {"bleu": str(bleu.get_signature()), "chrf": str(chrf.get_signature())}
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
    assert tokenizer_of([[text]]) == tokenizer
    assert f"tok:{tokenizer}" in signatures([[text]])["bleu"]
    if text != "...":
        found = corpus_overlap([text, text[:-3]], [[text], [text]], generator=np.random.default_rng(0))
        assert 50 < found["bleu"].value < 100
