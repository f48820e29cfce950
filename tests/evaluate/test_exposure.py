"""Excess accumulated error: brute force over loops, exact enumeration, dense float64 models."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stillage.errors import ConfigError, DataError
from stillage.evaluate.exposure_bias import (
    ExposurePlan,
    excess_percent,
    exposure_bias,
    exposure_curve,
    forward_kl_along,
    mean_by_prompt,
)
from stillage.functional.means import ratio_interval
from stillage.models.generate import Decoding, generate
from stillage.models.load import load_model
from stillage.models.prompts import Prompts, TextRules
from stillage.run.config import ModelConfig

PROMPTS = [np.array(ids, np.int32) for ids in ([5, 6, 7], [8], [9, 10, 11, 12], [20, 21])]


def brute(student: list[list[list[float]]], teacher: list[list[list[float]]], t: int) -> float:
    """ExAccErr(t) from kl[prompt][rollout][token], by loops."""
    sums = []
    for kl in (student, teacher):
        per_prompt = [sum(sum(rollout[:t]) for rollout in prompt) / len(prompt) for prompt in kl]
        sums.append(sum(per_prompt) / len(per_prompt))
    return (sums[0] - sums[1]) / sums[1] * 100


def test_the_curve_is_the_brute_force_one() -> None:
    rng = np.random.default_rng(2)
    ragged = [
        [[rng.exponential(1, int(rng.integers(1, 7))).tolist() for _ in range(3)] for _ in range(5)]
        for _ in range(2)
    ]
    means = [mean_by_prompt([np.array(r) for prompt in kl for r in prompt], 3, 6) for kl in ragged]
    curve = exposure_curve(means[0], means[1], level=0.8)
    assert curve["prompts"].tolist() == [5] * 6
    for t in range(1, 7):
        assert curve["excess_percent"][t - 1] == pytest.approx(
            brute(ragged[0], ragged[1], t), rel=1e-12
        )
    for t in (1, 6):
        ratio = ratio_interval(means[0][:, :t].sum(1), means[1][:, :t].sum(1), 0.8)
        assert (curve["low"][t - 1], curve["high"][t - 1]) == pytest.approx(
            (100 * ratio.low - 100, 100 * ratio.high - 100)
        )
        assert curve["low"][t - 1] < curve["excess_percent"][t - 1] < curve["high"][t - 1]


def test_equal_models_are_0_and_nothing_over_something_is_inf() -> None:
    assert excess_percent(np.array([0.0, 1.0, 3.0]), np.array([0.0, 0.0, 2.0])).tolist() == [
        0.0,
        math.inf,
        50.0,
    ]
    zeros = np.zeros((3, 4))
    curve = exposure_curve(zeros, zeros)
    assert (
        not curve["excess_percent"].any() and np.isnan(curve["low"]).all()
    )  # nothing scatters, so nothing is known of the scatter
    single = exposure_curve(zeros[:1] + 1, zeros[:1] + 1)
    assert np.isnan(single["low"]).all() and not single["excess_percent"].any()
    with pytest.raises(ConfigError):
        exposure_curve(zeros[:0], zeros[:0])


def dense_log_probs(model: torch.nn.Module, ids: list[int]) -> torch.Tensor:
    """log q before each token after the first, float64, one text at a time."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0].double().log_softmax(-1)


@pytest.mark.parametrize("batch_tokens", [1, 10_000])
def test_kl_is_the_dense_one_for_every_batch(small: SimpleNamespace, batch_tokens: int) -> None:
    teacher, student = small.model(seed=1, width=48), small.model(seed=2)
    rng = np.random.default_rng(6)
    written = [rng.integers(3, small.VOCAB, n).astype(np.int32) for n in (4, 1, 0, 7)]
    found = forward_kl_along(teacher, student, PROMPTS, written, batch_tokens=batch_tokens)
    for prompt, new, kl_T in zip(PROMPTS, written, found, strict=True):
        assert len(kl_T) == len(new)
        for t in range(len(new)):
            before = [*prompt.tolist(), *new[:t].tolist()]
            p, q = dense_log_probs(teacher, before)[-1], dense_log_probs(student, before)[-1]
            assert kl_T[t] == pytest.approx(float((p.exp() * (p - q)).sum()), rel=1e-4, abs=1e-7)


def test_the_error_on_the_teachers_text_is_the_divergence_of_whole_texts(
    small: SimpleNamespace,
) -> None:
    """Chain rule: eps(2) = KL(p(y1 y2) || q(y1 y2)), enumerated over all texts of two tokens, EOS ending them."""
    teacher, student = small.model(seed=1), small.model(seed=2)
    for parameter in (*teacher.parameters(), *student.parameters()):
        parameter.data.mul_(3)  # far enough apart to be told from noise
    prompt, eos = PROMPTS[0].tolist(), 0
    p1, q1 = dense_log_probs(teacher, prompt)[-1], dense_log_probs(student, prompt)[-1]
    exact = 0.0
    for first, second in itertools.product(range(small.VOCAB), range(small.VOCAB)):
        if first == eos:
            exact += float(p1[eos].exp() * (p1[eos] - q1[eos])) * (
                second == eos
            )  # nothing follows an end
            continue
        if second == 0:
            p2, q2 = (
                dense_log_probs(teacher, [*prompt, first])[-1],
                dense_log_probs(student, [*prompt, first])[-1],
            )
        joint_p, joint_q = p1[first] + p2[second], q1[first] + q2[second]
        exact += float(joint_p.exp() * (joint_p - joint_q))
    curve = exposure_bias(
        student,
        teacher,
        Prompts([PROMPTS[0]], ["a"], 3),
        TextRules(eos, 1),
        plan=ExposurePlan(max_new_tokens=2, rollouts=400),
    )
    assert curve["accumulated_on_teacher_text"][1] == pytest.approx(exact, rel=0.03)
    assert curve["accumulated_on_teacher_text"][0] == pytest.approx(
        float((p1.exp() * (p1 - q1)).sum()), rel=1e-4
    )  # the first token counts


def test_the_whole_measurement_is_its_parts(small: SimpleNamespace) -> None:
    teacher, student = small.model(seed=1, width=48), small.model(seed=2)
    names = ["a", "b", "c", "d"]
    curve = exposure_bias(
        student,
        teacher,
        Prompts(PROMPTS, names, 5),
        TextRules(0, 1),
        plan=ExposurePlan(max_new_tokens=6, rollouts=2, batch_tokens=40),
    )
    expected = []
    for writer in (student, teacher):
        kl: list[list[list[float]]] = []
        for prompt, name in zip(PROMPTS, names, strict=True):
            texts = generate(
                writer,
                Prompts([prompt, prompt], [f"{name}/rollout 0", f"{name}/rollout 1"], 5),
                Decoding(max_new_tokens=6, sampling_temperature=1.0),
                TextRules(0, 1),
            )
            kl.append(
                [forward_kl_along(teacher, student, [prompt], [text])[0].tolist() for text in texts]
            )
        expected.append(kl)
    for t in (1, 3, 6):
        assert curve["excess_percent"][t - 1] == pytest.approx(
            brute(expected[0], expected[1], t), rel=1e-3, abs=1e-3
        )
    assert curve["excess_percent"][0] == pytest.approx(
        0, abs=1e-4
    )  # nothing written yet: the same context for both
    assert curve["tokens"].tolist() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("padded", ["student", "teacher"])
def test_both_models_can_read_every_text(small: SimpleNamespace, padded: str) -> None:
    """One model has a head with rows that mean nothing and are likely, and the other a context of eight tokens."""
    wide = load_model(ModelConfig(layers=1, width=16, heads=2, context=32), vocab_size=90, seed=3)
    short = load_model(
        ModelConfig(layers=1, width=16, heads=2, context=8), vocab_size=small.VOCAB, seed=4
    )
    with torch.no_grad():
        wide.get_input_embeddings().weight[small.VOCAB :] *= 20
    student, teacher = (wide, short) if padded == "student" else (short, wide)
    plan, rules = ExposurePlan(max_new_tokens=7, rollouts=2), TextRules(0, 1)
    curve = exposure_bias(student, teacher, Prompts(PROMPTS, list("abcd"), 5), rules, plan=plan)
    assert (
        np.isfinite(curve["excess_percent"]).all() and curve["accumulated_on_student_text"][-1] > 0
    )
    with pytest.raises(DataError, match="longer than the model's context: record long"):
        long = Prompts([np.arange(3, 12)], ["long"], 5)
        exposure_bias(student, teacher, long, rules, plan=plan)


def test_a_student_that_is_its_teacher_has_no_excess(small: SimpleNamespace) -> None:
    curve = exposure_bias(
        small.model(seed=1),
        small.model(seed=1),
        Prompts(PROMPTS, list("abcd"), 5),
        TextRules(0, 1),
        plan=ExposurePlan(max_new_tokens=5, rollouts=2),
    )
    assert not curve["accumulated_on_student_text"].any() and not curve["excess_percent"].any()
    with pytest.raises(ConfigError, match="rollouts: 0"):
        exposure_bias(
            small.model(),
            small.model(),
            Prompts(PROMPTS, list("abcd"), 5),
            TextRules(0, 1),
            plan=ExposurePlan(rollouts=0),
        )
