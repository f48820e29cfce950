"""The eight formulas against sums written out in float64, their limits, and their refusals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.errors import ConfigError
from stillage.functional import divergence as dv


def kl(p: np.ndarray, q: np.ndarray) -> float:
    return float(sum(a * (math.log(a) - math.log(b)) for a, b in zip(p, q, strict=True) if a > 0))


def tail_of(p: np.ndarray, mass: float) -> set[int]:
    """The least probable tokens, one by one, while their total stays <= mass."""
    tail, total = set(), 0.0
    for index in np.argsort(p, kind="stable"):
        total += p[index]
        if total > mass:
            break
        tail.add(int(index))
    return tail


def akl(p: np.ndarray, q: np.ndarray, head_mass: float) -> float:
    gap, tail = np.abs(p - q), tail_of(p, 1 - head_mass)
    g_tail = float(sum(gap[i] for i in tail))
    weight = 0.5 if gap.sum() == 0 else (float(gap.sum()) - g_tail) / float(gap.sum())
    return weight * kl(p, q) + (1 - weight) * kl(q, p)


def oracle(name: str, p: np.ndarray, q: np.ndarray, x: float) -> float:
    mixed = x * p + (1 - x) * q
    return {
        "fkl": lambda: kl(p, q),
        "rkl": lambda: kl(q, p),
        "symmetric": lambda: (1 - x) * kl(p, q) + x * kl(q, p),
        "jsd": lambda: x * kl(p, mixed) + (1 - x) * kl(q, mixed),
        "tvd": lambda: 0.5 * float(np.abs(p - q).sum()),
        "sfkl": lambda: kl(p, mixed),
        "srkl": lambda: kl(q, x * q + (1 - x) * p),
        "akl": lambda: akl(p, q, x),
    }[name]()


PARAMETER = {
    "symmetric": "reverse_weight",
    "jsd": "beta",
    "sfkl": "alpha",
    "srkl": "alpha",
    "akl": "head_mass",
}


@pytest.mark.parametrize("name", dv.DIVERGENCES)
@settings(max_examples=40, deadline=None)
@given(
    rows=st.lists(st.lists(st.floats(-6, 6), min_size=12, max_size=12), min_size=2, max_size=2),
    x=st.floats(0.01, 0.99),
)
def test_formula(name: str, rows: list[list[float]], x: float) -> None:
    p, q = (torch.log_softmax(torch.tensor(row, dtype=torch.float64), -1) for row in rows)
    params = {PARAMETER[name]: x} if name in PARAMETER else {}
    expected = oracle(name, p.exp().numpy(), q.exp().numpy(), x)
    assert float(dv.DIVERGENCES[name](p, q, **params)) == pytest.approx(
        expected, rel=1e-9, abs=1e-12
    )


def test_published_example_of_four_tokens() -> None:
    """Values computed with the published code (mean over positions 0 and 2), the teacher's entropy 0.998121 subtracted."""
    student = torch.tensor([[1.0, 0, -1, 2], [-1, 3, 0, 1]])
    teacher = torch.tensor([[2.0, 0, -1, 1], [0, 2, 1, 0]])
    p, q = torch.log_softmax(teacher, -1), torch.log_softmax(student, -1)
    values = {
        "fkl": dv.forward_kl(p, q),
        "rkl": dv.reverse_kl(p, q),
        "symmetric .9": dv.symmetric_kl(p, q, reverse_weight=0.9),
        "js lam .9": dv.generalized_jsd(p, q, beta=0.1),
        "js .5": dv.generalized_jsd(p, q),
        "tvd": dv.total_variation(p, q),
        "sfkl": dv.skew_forward_kl(p, q),
        "srkl": dv.skew_reverse_kl(p, q),
    }
    published = {
        "fkl": 0.356311,
        "rkl": 0.301240,
        "symmetric .9": 0.406559 - 0.1 * 0.998121,
        "js lam .9": 0.0307145,
        "js .5": 0.0773911,
        "tvd": 0.3287755,
        "sfkl": 1.264159 - 0.998121,
        "srkl": 0.243577,
    }
    assert {name: float(d.mean()) for name, d in values.items()} == pytest.approx(
        published, abs=2e-6
    )


def same(found: torch.Tensor, wanted: torch.Tensor) -> None:
    """Equal but for float32's rounding: another formula, order or kernel adds up with 1e-5 of it at most."""
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_defaults_and_limits() -> None:
    p, q = (
        torch.log_softmax(torch.randn(4, 30, generator=torch.Generator().manual_seed(s)), -1)
        for s in (0, 1)
    )
    forward, reverse = dv.forward_kl(p, q), dv.reverse_kl(p, q)
    same(dv.generalized_jsd(p, q, beta=0.0), forward)
    same(dv.generalized_jsd(p, q, beta=1.0), reverse)
    same(dv.symmetric_kl(p, q, reverse_weight=0.0), forward)
    same(dv.symmetric_kl(p, q, reverse_weight=1.0), reverse)
    same(dv.symmetric_kl(p, q), (forward + reverse) / 2)
    same(dv.skew_forward_kl(p, q, alpha=0.0), forward)
    same(dv.skew_reverse_kl(p, q, alpha=0.0), reverse)
    same(dv.generalized_jsd(p, q), dv.generalized_jsd(q, p))
    same(dv.adaptive_kl(p, q, head_mass=1.0), forward)  # no tail
    same(dv.adaptive_kl(p, q, head_mass=0.5), dv.adaptive_kl(p, q))
    assert (dv.skew_forward_kl(p, q, alpha=0.2) <= -math.log(0.2)).all()


def test_entropy_is_subtracted() -> None:
    """Earlier code returned 1.744 for a student equal to its teacher."""
    p = torch.log_softmax(torch.randn(3, 7, generator=torch.Generator().manual_seed(2)), -1)
    assert dv.forward_kl(p, p).max() <= 1e-7
    assert dv.skew_forward_kl(p, p).max() <= 1e-6


def test_log_zero_stands_for_minus_infinity() -> None:
    p, q = torch.tensor([0.5, 0.5]).log(), torch.tensor([1.0, 0.0]).log()
    assert float(dv.forward_kl(p, q)) == pytest.approx(math.log(0.5) - 0.5 * dv.LOG_ZERO, rel=1e-5)
    assert float(dv.total_variation(p, q)) == pytest.approx(0.5, rel=1e-5)
    assert float(dv.generalized_jsd(p, q)) == pytest.approx(
        0.5 * kl(np.array([0.5, 0.5]), np.array([0.75, 0.25])) + 0.5 * math.log(4 / 3), rel=1e-5
    )


def test_teacher_needs_no_gradient_and_may_have_one() -> None:
    p = torch.log_softmax(
        torch.randn(2, 5, generator=torch.Generator().manual_seed(3)), -1
    ).requires_grad_()
    q = torch.log_softmax(torch.randn(2, 5, generator=torch.Generator().manual_seed(4)), -1)
    (gradient,) = torch.autograd.grad(dv.reverse_kl(p, q).sum(), p)
    same(gradient, -q.exp())


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("jsd", {"beta": 1.2}),
        ("symmetric", {"reverse_weight": -0.1}),
        ("sfkl", {"alpha": 1.0}),
        ("srkl", {"alpha": -1.0}),
        ("akl", {"head_mass": 2.0}),
        ("jsd", {"beta": float("nan")}),
    ],
)
def test_a_parameter_outside_its_range_is_refused(name: str, params: dict[str, float]) -> None:
    p = torch.log_softmax(torch.zeros(1, 3), -1)
    with pytest.raises(ConfigError, match="is outside") as error:
        dv.DIVERGENCES[name](p, p, **params)
    assert str(next(iter(params.values()))) in error.value.values


def test_resolve_names_the_nearest_and_the_parameters() -> None:
    with pytest.raises(ConfigError, match="Did you mean srkl"):
        dv.resolve("srk", {})
    with pytest.raises(ConfigError, match="Its parameters: beta"):
        dv.resolve("jsd", {"alpha": 0.1})
    with pytest.raises(ConfigError, match="Its parameters: none"):
        dv.resolve(dv.forward_kl, {"beta": 0.1})
    p = torch.log_softmax(torch.tensor([[1.0, 2.0]]), -1)
    q = torch.log_softmax(torch.tensor([[2.0, 1.0]]), -1)
    same(dv.resolve("jsd", {"beta": 0.2})(p, q), dv.generalized_jsd(p, q, beta=0.2))
