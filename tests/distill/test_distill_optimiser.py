from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillage.distill.optimiser import adamw, lr_at
from stillage.run.config import TrainConfig


def test_warm_up_then_cosine_against_its_formula() -> None:
    options = TrainConfig(lr_peak=2.0, lr_final=0.5, warmup_fraction=0.2)
    rates = [lr_at(step, 11, options) for step in range(11)]
    assert rates[:3] == pytest.approx([2 / 3, 4 / 3, 2.0])  # ceil(0.2 * 11) = 3 steps of warm-up
    assert rates[3] == 2.0 and rates[-1] == 0.5
    middle = 0.5 + 1.5 * (1 + math.cos(math.pi * 3 / 7)) / 2
    assert rates[6] == pytest.approx(middle)


def test_linear_and_constant() -> None:
    linear = TrainConfig(lr_peak=1.0, lr_final=0.0, schedule="linear", warmup_fraction=0)
    assert [lr_at(step, 5, linear) for step in range(5)] == pytest.approx([1, 0.75, 0.5, 0.25, 0])
    constant = TrainConfig(lr_peak=1.0, schedule="constant", warmup_fraction=0.5)
    assert [lr_at(step, 4, constant) for step in range(4)] == [0.5, 1, 1, 1]


@given(
    total=st.integers(1, 50),
    warmup=st.floats(0, 1),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
)
def test_rate_stays_between_zero_and_its_peak_and_never_rises_after_warm_up(
    total: int, warmup: float, schedule: str
) -> None:
    options = TrainConfig(lr_peak=3.0, warmup_fraction=warmup, schedule=schedule)  # pyright: ignore[reportArgumentType]
    places = [
        quarter / 4 for quarter in range(4 * total)
    ]  # by trained tokens a step may stand between two others
    rates = [lr_at(place, total, options) for place in places]
    assert all(0 <= rate <= 3.0 + 1e-12 for rate in rates)
    after = rates[4 * math.ceil(warmup * total) :]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(after))


def test_only_matrices_decay() -> None:
    """Without a gradient AdamW only decays: w (1 - lr * decay); biases, norms and frozen weights stay."""
    matrix, vector, frozen = (
        torch.nn.Parameter(torch.ones(shape)) for shape in ((2, 2), (2,), (2, 2))
    )
    frozen.requires_grad = False
    optimiser = adamw([matrix, vector, frozen], TrainConfig(weight_decay=0.1))
    for group in optimiser.param_groups:
        group["lr"] = 0.5
    matrix.grad, vector.grad = torch.zeros(2, 2), torch.zeros(2)
    optimiser.step()
    assert torch.allclose(matrix, torch.full((2, 2), 0.95))
    assert torch.equal(vector, torch.ones(2)) and torch.equal(frozen, torch.ones(2, 2))
