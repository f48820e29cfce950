"""What the loop differentiates: a student's forward pass and a method's terms, as one module, so that DDP sees all of it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import nn

from stillage.distill.dense import WHOLE, dense_sums
from stillage.functional.chunked import DistillationSums, distillation_sums
from stillage.models.outputs import forward_hidden, head_of, packed_inputs
from stillage.types import Batch, Method, Output, Step

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOTHING: Mapping[str, float] = MappingProxyType({})


def aligned(batch: Batch, hidden_BSH: torch.Tensor) -> torch.Tensor:
    """The hidden states that predict batch.labels_T, [T, H]."""
    return hidden_BSH.flatten(0, 1).index_select(0, batch.positions_T)


def output(model: PreTrainedModel, batch: Batch) -> Output:
    """A decoder's say on the trained positions; no mask, as padding is on the right, where causality hides it.

    The whole logits of a model that `dense.examine` found to need them.
    """
    if model in WHOLE:
        inputs = {} if batch.documents_BS is None else packed_inputs(model, batch.documents_BS)
        logits_BSV = model(input_ids=batch.ids_BS, **inputs, use_cache=False).logits
        return Output(hidden_TH=aligned(batch, logits_BSV), head_VH=None)
    weight_VH, bias_V, softcap = head_of(model)
    hidden_BSH = forward_hidden(model, batch.ids_BS, documents_BT=batch.documents_BS)
    return Output(
        hidden_TH=aligned(batch, hidden_BSH), head_VH=weight_VH, bias_V=bias_V, softcap=softcap
    )


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
    """Token sums of a step, unweighted: divergence from the teacher (0 without one) and cross-entropy.

    weight_T: of each token, in both sums. weights: what the method will multiply kd and ce with; it changes no value, but
    with others the backward pass takes twice the time. The rest is as in distillation_sums.
    """
    student, teacher = step.student, step.teacher
    if student.head_VH is None or (teacher is not None and teacher.head_VH is None):
        return dense_sums(
            student,
            teacher,
            step.labels_T,
            divergence=divergence,
            params=params,
            kd_temperature=kd_temperature,
            t_squared=t_squared,
            weight_T=weight_T,
        )
    return distillation_sums(
        student.hidden_TH,
        student.head_VH,
        None if teacher is None else teacher.hidden_TH,
        None if teacher is None else teacher.head_VH,
        step.labels_T,
        divergence=divergence,
        params=params,
        kd_temperature=kd_temperature,
        t_squared=t_squared,
        weight_T=weight_T,
        student_bias_V=student.bias_V,
        teacher_bias_W=None if teacher is None else teacher.bias_V,
        student_softcap=student.softcap,
        teacher_softcap=None if teacher is None else teacher.softcap,
        gradient_weights=weights,
    )


def teacher_alone(
    step: Step, divergence: str, params: Mapping[str, float] = NOTHING
) -> dict[str, torch.Tensor]:
    """{"kd": sum_t divergence(p_t, q_t)}: the whole loss of a method that only follows its teacher."""
    return {"kd": sums(step, divergence=divergence, params=params, weights=(1.0, 0.0)).kd}


class Objective(nn.Module):
    """Lives as long as a training: the student, and what its method adds up."""

    def __init__(self, student: PreTrainedModel, method: Method, params: object) -> None:
        super().__init__()
        self.student, self.method, self.params = student, method, params

    def forward(
        self, batch: Batch, teacher: Output | None, number: int, lm_weight: float = 0.0
    ) -> dict[str, torch.Tensor]:
        """The named token sums of a micro-batch. lm_weight > 0: of plain text, whose one term is "lm"."""
        step = Step(
            student=output(self.student, batch),
            teacher=teacher,
            labels_T=batch.labels_T,
            number=number,
            extras=batch.extras,
        )
        return (
            {"lm": lm_weight * sums(step).ce} if lm_weight else self.method.terms(step, self.params)
        )
