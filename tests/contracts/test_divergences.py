"""What every entry of DIVERGENCES promises; a new entry is picked up by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.functional.chunked import distillation_sums
from stillage.functional.divergence import DIVERGENCES
from stillage.plugins.plugin import load, plugged_in

PLUGIN = load(Path(__file__).parents[2] / "docs/how-to/plugin/divergence.py")
EVERY = [*DIVERGENCES, *PLUGIN.tables["DIVERGENCES"]]
every = pytest.mark.parametrize("name", EVERY)


@pytest.fixture(scope="module", autouse=True)
def plugin() -> Iterator[None]:
    with plugged_in(PLUGIN):
        yield


def logits(
    *shape: int, seed: int = 0, scale: float = 1.0, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale).to(dtype)


def value_and_gradient(
    name: str, teacher: torch.Tensor, student: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """d per position, and the gradient of its sum at the student's logits."""
    student = student.clone().requires_grad_()
    d = DIVERGENCES[name](torch.log_softmax(teacher, -1), torch.log_softmax(student, -1))
    return d.detach(), torch.autograd.grad(d.sum(), student)[0]


@every
@pytest.mark.parametrize("scale", [0.0, 1.0, 30.0])
def test_zero_at_equality_with_zero_gradient(name: str, scale: float) -> None:
    z = logits(5, 301, scale=scale)
    d, gradient = value_and_gradient(name, z, z)
    assert d.abs().max() <= 1e-6
    assert gradient.abs().max() <= 1e-6


@every
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(2, 40),
    seed=st.integers(0, 2**31),
    scale=st.floats(0, 100),
    closeness=st.sampled_from([0.0, 1e-3, 1.0]),
)
def test_never_negative_and_positive_apart(
    name: str, size: int, seed: int, scale: float, closeness: float
) -> None:
    teacher = logits(3, size, seed=seed, scale=scale)
    student = teacher + closeness * logits(3, size, seed=seed + 1, scale=scale)
    d, gradient = value_and_gradient(name, teacher, student)
    assert (d >= 0).all()
    assert gradient.isfinite().all()
    apart = (teacher.softmax(-1) - student.softmax(-1)).abs().sum(-1) > 1e-2
    assert (d[apart] > 0).all()


@every
@pytest.mark.parametrize("extreme", [float("-inf"), -1e9, -1e4, -80.0, 80.0, 1e4])
@pytest.mark.parametrize("where", ["teacher", "student", "both"])
def test_finite_at_extreme_logits(name: str, extreme: float, where: str) -> None:
    teacher, student = logits(4, 11, seed=1), logits(4, 11, seed=2)
    for z in {"teacher": [teacher], "student": [student], "both": [teacher, student]}[where]:
        z[:, 7:] = extreme
    d, gradient = value_and_gradient(name, teacher, student)
    assert d.isfinite().all()
    assert (d >= 0).all()
    assert gradient.isfinite().all()
    if extreme == float("-inf") and where != "teacher":
        assert not gradient[:, 7:].any()  # what the student cannot say has no gradient


@every
@pytest.mark.parametrize("scale", [0.1, 1.0, 20.0, 80.0])
@pytest.mark.parametrize("padded", [False, True])
def test_gradient_is_that_of_float64(name: str, scale: float, padded: bool) -> None:
    teacher, student = logits(6, 97, seed=3, scale=scale), logits(6, 97, seed=4, scale=scale)
    if padded:
        teacher[:, 90:], student[:, 90:] = -1e4, -1e4
    d, gradient = value_and_gradient(name, teacher, student)
    exact_d, exact = value_and_gradient(name, teacher.double(), student.double())
    torch.testing.assert_close(d.double(), exact_d, rtol=1e-5, atol=1e-6)
    assert (gradient - exact).abs().max() <= 1e-5 * max(1.0, float(exact.abs().max()))


@pytest.mark.parametrize("name", [name for name in EVERY if name != "akl"])
def test_gradient_is_the_slope_of_the_value(name: str) -> None:
    """All but adaptive KL, whose weight is a constant by definition, so that its gradient is not a slope."""
    teacher, student = (
        logits(2, 9, seed=5, dtype=torch.float64),
        logits(2, 9, seed=6, dtype=torch.float64),
    )
    _, gradient = value_and_gradient(name, teacher, student)
    step = 1e-6
    for index in range(9):
        plus, minus = student.clone(), student.clone()
        plus[:, index] += step
        minus[:, index] -= step
        slope = (
            value_and_gradient(name, teacher, plus)[0] - value_and_gradient(name, teacher, minus)[0]
        ) / (2 * step)
        torch.testing.assert_close(gradient[:, index], slope, rtol=1e-6, atol=1e-8)


@every
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_inputs_are_read_as_float32(name: str, dtype: torch.dtype) -> None:
    p, q = (torch.log_softmax(logits(3, 5, 33, seed=seed), -1).to(dtype) for seed in (7, 8))
    d = DIVERGENCES[name](p, q)
    assert d.dtype == torch.float32
    assert d.shape == (3, 5)
    torch.testing.assert_close(d, DIVERGENCES[name](p.float(), q.float()), rtol=1e-5, atol=1e-6)


@every
def test_order_of_the_vocabulary_does_not_matter(name: str) -> None:
    teacher, student = logits(4, 50, seed=9, scale=3), logits(4, 50, seed=10, scale=3)
    shuffled = torch.randperm(50, generator=torch.Generator().manual_seed(0))
    d, _ = value_and_gradient(name, teacher, student)
    torch.testing.assert_close(
        value_and_gradient(name, teacher[:, shuffled], student[:, shuffled])[0],
        d,
        rtol=1e-5,
        atol=1e-6,
    )


@every
@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("chunk_tokens", [1, 5, 64])
def test_chunked_equals_dense(name: str, temperature: float, chunk_tokens: int) -> None:
    """Against the dense form in float64: values, and the gradients at hidden states, head and bias, to 1e-5."""
    hidden, head, bias = (
        logits(23, 16, seed=11),
        logits(61, 16, seed=12, scale=0.5),
        logits(61, seed=13),
    )
    teacher_hidden, teacher_head = logits(23, 12, seed=14), logits(61, 12, seed=15, scale=0.5)
    labels = torch.arange(23) % 61
    labels[::4] = -100
    trained = [x.clone().requires_grad_() for x in (hidden, head, bias)]
    sums = distillation_sums(
        trained[0],
        trained[1],
        teacher_hidden,
        teacher_head,
        labels,
        divergence=name,
        student_bias_V=trained[2],
        kd_temperature=temperature,
        chunk_tokens=chunk_tokens,
    )
    exact = [x.double().requires_grad_() for x in (hidden, head, bias)]
    z, kept = exact[0] @ exact[1].T + exact[2], labels != -100
    p, q = (
        torch.log_softmax(x / temperature, -1)
        for x in (teacher_hidden.double() @ teacher_head.double().T, z)
    )
    kd = DIVERGENCES[name](p, q)[kept].sum()
    ce = torch.nn.functional.cross_entropy(z[kept], labels[kept], reduction="sum")
    assert int(sums.tokens) == int(kept.sum())
    torch.testing.assert_close(
        torch.stack((sums.kd, sums.ce)).double(), torch.stack((kd, ce)), rtol=1e-5, atol=1e-5
    )
    ours = torch.autograd.grad(sums.kd + sums.ce, trained)
    for mine, true in zip(ours, torch.autograd.grad(kd + ce, exact), strict=True):
        assert (mine - true).abs().max() <= 1e-5 * max(1.0, float(true.abs().max()))


@every
def test_no_trained_position_is_zero_with_zero_gradient(name: str) -> None:
    hidden, head = logits(4, 8).requires_grad_(), logits(21, 8).requires_grad_()
    sums = distillation_sums(
        hidden, head, logits(4, 8), logits(21, 8), torch.full((4,), -100), divergence=name
    )
    assert (float(sums.kd.detach()), float(sums.ce.detach()), int(sums.tokens)) == (0.0, 0.0, 0)
    for gradient in torch.autograd.grad(sums.kd + sums.ce, (hidden, head)):
        assert not gradient.any()
