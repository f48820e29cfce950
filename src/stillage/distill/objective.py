"""A student's forward pass and a method's terms as one module, all seen by DDP."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import nn

from stillage.functional.chunked import DistillationSums, LossSettings, readout_sums
from stillage.functional.loss_inputs import LossInputs
from stillage.models.decoder import read
from stillage.types import Batch, Method, Readout, Step, Terms

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOTHING: Mapping[str, float] = MappingProxyType({})


def sums(
    step: Step,
    *,
    divergence: str = "fkl",
    params: Mapping[str, float] = NOTHING,
    kd_temperature: float = 1.0,
    t_squared: bool = False,
    weights: tuple[float, float] = (0.0, 1.0),
    weight_T: torch.Tensor | None = None,
) -> DistillationSums:
    """Sum a step's divergence from the teacher (0 without one) and cross-entropy.

    weight_T: of each token, in both sums. weights: what the method will multiply kd and ce with; it
    changes no value, but with others the backward pass takes twice the time.
    """
    settings = LossSettings(
        divergence=divergence,
        params=params,
        kd_temperature=kd_temperature,
        t_squared=t_squared,
        gradient_weights=weights,
    )
    return readout_sums(LossInputs(step.student, step.teacher, step.labels_T, weight_T), settings)


def weighted(both: DistillationSums, weights: Mapping[str, float]) -> Terms:
    """The sums "kd" and "ce" times their weights, those that have one."""
    return {name: weight * getattr(both, name) for name, weight in weights.items() if weight}


def teacher_alone(step: Step, divergence: str, params: Mapping[str, float] = NOTHING) -> Terms:
    """{"kd": sum_t divergence(p_t, q_t)}: for methods that only follow the teacher."""
    return {"kd": sums(step, divergence=divergence, params=params, weights=(1.0, 0.0)).kd}


class Objective(nn.Module):
    """Lives as long as a training: the student, and what its method adds up."""

    def __init__(self, student: PreTrainedModel, method: Method, params: object) -> None:
        super().__init__()
        self.student, self.method, self.params = student, method, params

    def forward(
        self, batch: Batch, teacher: Readout | None, number: int, lm_weight: float = 0.0
    ) -> Terms:
        """Compute the token sums of a micro-batch; with lm_weight "lm", of plain text."""
        step = Step(
            student=read(self.student, batch),
            teacher=teacher,
            labels_T=batch.labels_T,
            number=number,
            extras=batch.extras,
        )
        return (
            {"lm": lm_weight * sums(step).ce} if lm_weight else self.method.terms(step, self.params)
        )
