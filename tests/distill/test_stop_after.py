"""seqkd with stop_after: the teacher's texts end where the needed part does, and the end is a target of its own."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.distill.methods.seqkd import Params, terms
from stillage.distill.teacher_generation import cut_after, with_cuts
from stillage.run.folder import read_table
from stillage.types import Example, Head, Readout, Step


def test_texts_are_cut_after_the_first_token_that_completes_the_marker(
    small: SimpleNamespace,
) -> None:
    tokenizer = small.tokenizer()
    eos = tokenizer.eos_token_id
    ids = tokenizer.convert_tokens_to_ids(["w1", "w2", "w3", "w2", "w4"])
    assert cut_after([*ids, eos], "w2", tokenizer, eos) == ([*ids[:2], eos], True)
    assert cut_after([*ids[:2], eos], "w2", tokenizer, eos) == (
        [*ids[:2], eos],
        False,
    )  # it ended there by itself
    assert cut_after(ids, "w9", tokenizer, eos) == (ids, False)
    assert cut_after(ids, "w3 w2", tokenizer, eos) == ([*ids[:4], eos], True)


def step_of(cut_T: list[float]) -> Step:
    """A step of T tokens with hidden states and heads drawn at random, V = 7."""
    torch.manual_seed(3)
    tokens = len(cut_T)
    student, teacher = (Readout(torch.randn(tokens, 5), Head(torch.randn(7, 5))) for _ in range(2))
    labels_T = torch.arange(tokens) % 7
    return Step(
        student=student,
        teacher=teacher,
        labels_T=labels_T,
        number=0,
        extras={"cut": torch.tensor(cut_T)},
    )


@pytest.mark.parametrize("ce_weight", [0.0, 0.5])
def test_the_end_set_in_is_a_target_and_the_teacher_is_not(ce_weight: float) -> None:
    """Against float64 log-softmax: KL on the other tokens, cross-entropy where the text was cut."""
    step = step_of([0, 0, 1, 0, 0, 1])
    found = terms(
        step, Params(decoding="greedy", ce_weight=ce_weight, kd_weight=2.0, stop_after=";")
    )
    assert step.teacher is not None
    logq, logp = (
        torch.log_softmax(one.hidden_TH.double() @ one.head.weight_VH.double().T, 1)
        for one in (step.student, step.teacher)
    )
    kl_T = (logp.exp() * (logp - logq)).sum(1)
    nll_T = -logq[torch.arange(6), step.labels_T]
    cut_T = step.extras["cut"].bool()
    assert float(found["kd"]) == pytest.approx(float(2 * kl_T[~cut_T].sum()), rel=1e-5)
    assert float(found["end"]) == pytest.approx(float(2 * nll_T[cut_T].sum()), rel=1e-5)
    assert ("ce" in found) == (ce_weight > 0)
    if ce_weight:
        assert float(found["ce"]) == pytest.approx(float(ce_weight * nll_T.sum()), rel=1e-5)


def test_without_a_cut_nothing_changes() -> None:
    plain = terms(step_of([0] * 6), Params(decoding="greedy", ce_weight=0.5, kd_weight=0.5))
    cut = terms(
        step_of([0] * 6), Params(decoding="greedy", ce_weight=0.5, kd_weight=0.5, stop_after=";")
    )
    assert float(cut["end"]) == 0
    assert {name: float(cut[name]) for name in plain} == pytest.approx(
        {k: float(v) for k, v in plain.items()}, rel=1e-5
    )


def test_extras_mark_the_last_token_alone() -> None:
    text = Example(record_id="a", ids_T=np.arange(6, dtype=np.int32), response_T=np.arange(6) >= 2)
    assert [one.extras["cut"].tolist() for one in with_cuts([text, text], [True, False])] == [
        [0, 0, 0, 1],
        [0, 0, 0, 0],
    ]


def test_a_training_reads_no_text_beyond_the_marker(small: SimpleNamespace, tmp_path: Path) -> None:
    """The marker is the token that the untrained teacher writes most, so that texts are really cut."""
    settings = {"decoding": "greedy", "max_new_tokens": 8, "ce_weight": 0.0, "kd_weight": 1.0}
    small.train(tmp_path / "whole", method="seqkd", settings=settings, epochs=1)
    whole = read_table(tmp_path / "whole" / "texts.parquet")
    words = [word for text in whole.column("text").to_pylist() for word in text.split()[:-1]]
    marker = max(set(words), key=words.count)
    small.train(
        tmp_path / "cut", method="seqkd", settings={**settings, "stop_after": marker}, epochs=1
    )
    cut = read_table(tmp_path / "cut" / "texts.parquet")
    assert any(cut.column("cut").to_pylist()) and not any(whole.column("cut").to_pylist())
    for before, after in zip(
        whole.column("text").to_pylist(), cut.column("text").to_pylist(), strict=True
    ):
        head, found, _ = before.partition(marker)
        assert after.split() == (head + found).split() if found else after == before
    assert '"end"' in (tmp_path / "cut" / "metrics.jsonl").read_text()
