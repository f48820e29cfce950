"""Divergence and cross-entropy straight from hidden states, a few positions at a time: no [T, V] tensor ever exists.

The logits of a chunk are made, give their share of the sums and of the gradients, and are dropped; what stays is as large
as the hidden states and the head. One chunk is in `functional.logits`; here are the loop and its place in autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillage.functional.divergence import resolve
from stillage.functional.inputs import (
    Inputs,
    check_positive,
    checked,
    matmul_dtype,
    shared_vocabulary,
    trained_positions,
)
from stillage.functional.logits import Head, Objective, chunk_sums

# Logits in a chunk. On CPU about eight such tensors with a teacher, one without: longer chunks read the head less often.
_ELEMENTS_TEACHER, _ELEMENTS_ALONE, _ELEMENTS_GPU = 4 * 2**20, 13 * 2**20, 32 * 2**20


class DistillationSums(NamedTuple):
    """Token sums over the trained positions: divide by the global `tokens` once, in the loop."""

    kd: Tensor  # sum of weight * divergence; 0 without a teacher
    ce: Tensor  # sum of weight * cross-entropy with the labels
    tokens: Tensor  # int64, number of labels != ignore_index, whatever their weight


def distillation_sums(
    student_hidden_TH: Tensor,
    student_head_VH: Tensor,
    teacher_hidden_TG: Tensor | None,
    teacher_head_WG: Tensor | None,
    labels_T: Tensor,
    *,
    divergence: str | Callable[..., Tensor] = "fkl",
    params: Mapping[str, float] = MappingProxyType({}),
    kd_temperature: float = 1.0,
    t_squared: bool = False,
    student_bias_V: Tensor | None = None,
    teacher_bias_W: Tensor | None = None,
    student_softcap: float | None = None,
    teacher_softcap: float | None = None,
    weight_T: Tensor | None = None,
    chunk_tokens: int | None = None,
    ignore_index: int = -100,
    gradient_weights: tuple[float, float] = (1.0, 1.0),
) -> DistillationSums:
    """The two losses of distillation, summed over the positions whose label is not ignore_index, in little memory.

    kd = sum_t weight_t d(p_t, q_t), with p and q the softmax of logits / kd_temperature, times kd_temperature^2 if t_squared;
    ce = sum_t weight_t (-log q_t[label_t]) at temperature 1; logits = hidden head' + bias, then cap * tanh(logits / cap).
    labels_T[t] is what position t predicts (already shifted). Without a teacher (hidden and head None) kd is 0 and costs
    nothing. divergence: a name of DIVERGENCES, or any function (p, q, **params) -> d of log-probabilities.

    Differentiable in the student's hidden states, head (tied, or the effective weight of an adapter) and bias; the teacher
    and the weights are constants. Logits are multiplied in the dtype of the inputs (autocast's where that is on) and read
    as float32; the head's gradient is summed in the head's own dtype. Vocabularies of different size are compared on their
    shared first ids, renormalised over those; cross-entropy always sees all V.

    gradient_weights: the proportion in which kd and ce will be added before `backward`. With the right one the gradients
    are ready by then; with any other they are right too, but computed anew (about twice the time).
    chunk_tokens: positions at a time; None chooses by vocabulary and device. UserError where shapes or settings clash.
    """
    settings = (kd_temperature, student_softcap, teacher_softcap, chunk_tokens)
    check_positive(
        ("kd_temperature", "student_softcap", "teacher_softcap", "chunk_tokens"), settings
    )
    student, teacher = (student_hidden_TH, student_head_VH), (teacher_hidden_TG, teacher_head_WG)
    inputs = Inputs(*student, student_bias_V, *teacher, teacher_bias_W, labels_T, weight_T)
    inputs = trained_positions(shared_vocabulary(checked(inputs)), ignore_index)
    plan = _Plan(
        objective=Objective(
            divergence=resolve(divergence, params),
            kd_temperature=kd_temperature,
            factor=kd_temperature**2 if t_squared else 1.0,
        ),
        student_softcap=student_softcap,
        teacher_softcap=teacher_softcap,
        chunk_tokens=chunk_tokens or _chunk_tokens(student_head_VH, alone=teacher_head_WG is None),
        gradient_weights=gradient_weights,
        student_dtype=matmul_dtype(*student),
        teacher_dtype=matmul_dtype(*teacher),
        differentiable=torch.is_grad_enabled(),
    )
    kd, ce = _Sums.apply(plan, *inputs)
    return DistillationSums(kd, ce, (labels_T != ignore_index).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is computed, and how; no tensors."""

    objective: Objective
    student_softcap: float | None
    teacher_softcap: float | None
    chunk_tokens: int
    gradient_weights: tuple[float, float]
    student_dtype: torch.dtype
    teacher_dtype: torch.dtype | None
    differentiable: bool


class _Gradients(NamedTuple):
    """Of the student's hidden states, head and bias; None where nobody asked."""

    hidden_TH: Tensor | None
    head_VH: Tensor | None
    bias_V: Tensor | None


class _Sums(torch.autograd.Function):
    """The two sums as one node of the graph, whose gradients are made beside the values, for the promised proportion."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *inputs: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - torch's own signature
        """The sums; keeps the inputs and, where something is trained, the gradients of the promised combination."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*inputs)
        ctx.plan = plan
        ctx.needs = ctx.needs_input_grad[1:4] if plan.differentiable else (False, False, False)
        kd, ce, ctx.gradients = _sums(plan, Inputs(*inputs), plan.gradient_weights, ctx.needs)
        return kd, ce

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:  # noqa: ANN401 # pyright: ignore[reportIncompatibleMethodOverride]
        """The kept gradients times their common factor; made anew for another proportion, or a second time."""
        inputs = Inputs(*ctx.saved_tensors)
        kd, ce = (0.0 if grad is None else float(grad) for grad in grads)
        factor = _common_factor(
            (kd, ce), ctx.plan.gradient_weights, has_teacher=inputs.teacher_head_WG is not None
        )
        kept, ctx.gradients = ctx.gradients, None
        if kept is None or factor is None:
            del kept
            return (None, *_sums(ctx.plan, inputs, (kd, ce), ctx.needs)[2], *[None] * 5)
        # In place: they are ours alone, and as large as the head.
        return (
            None,
            *(gradient if gradient is None else gradient.mul_(factor) for gradient in kept),
            *[None] * 5,
        )


def _sums(
    plan: _Plan,
    inputs: Inputs,
    gradient_weights: tuple[float, float],
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, _Gradients]:
    """kd, ce and the gradients of gradient_weights . (kd, ce), chunk by chunk."""
    trained = (inputs.hidden_TH, inputs.head_VH, inputs.bias_V)
    gradients = _Gradients(
        *(
            torch.zeros_like(x) if need and x is not None else None
            for x, need in zip(trained, needs, strict=True)
        )
    )
    real = torch.promote_types(plan.student_dtype, torch.float32)
    teacher_TG = inputs.teacher_hidden_TG
    totals = inputs.hidden_TH.new_zeros(2, dtype=real)
    with torch.no_grad(), torch.autocast(inputs.hidden_TH.device.type, enabled=False):
        student, teacher = _heads(plan, inputs)
        for rows in _chunks(len(inputs.labels_T), plan.chunk_tokens):
            hidden_CH = inputs.hidden_TH[rows].to(plan.student_dtype)
            chunk = chunk_sums(
                (hidden_CH, student),
                None
                if teacher_TG is None or teacher is None
                else (teacher_TG[rows].to(plan.teacher_dtype), teacher),
                inputs.labels_T[rows],
                totals.new_ones(len(hidden_CH))
                if inputs.weight_T is None
                else inputs.weight_T[rows].to(real),
                plan.objective,
                gradient_weights if any(needs) else None,
            )
            totals += torch.stack((chunk.kd, chunk.ce))
            if chunk.gradient_CV is not None:
                _accumulate(gradients, rows, chunk.gradient_CV, hidden_CH, student.weight_VH)
    return totals[0].clone(), totals[1].clone(), gradients


def _heads(plan: _Plan, inputs: Inputs) -> tuple[Head, Head | None]:
    """Both heads in the dtype they multiply in, cast once for all chunks."""
    student = Head(
        weight_VH=inputs.head_VH.to(plan.student_dtype),
        bias_V=inputs.bias_V,
        softcap=plan.student_softcap,
    )
    if inputs.teacher_head_WG is None:
        return student, None
    weight_WG = inputs.teacher_head_WG.to(plan.teacher_dtype)
    return student, Head(
        weight_VH=weight_WG, bias_V=inputs.teacher_bias_W, softcap=plan.teacher_softcap
    )


def _accumulate(
    gradients: _Gradients, rows: slice, gradient_CV: Tensor, hidden_CH: Tensor, head_VH: Tensor
) -> None:
    """One chunk's share of the three gradients, added in place."""
    hidden_TH, total_VH, bias_V = gradients
    if bias_V is not None:
        bias_V += gradient_CV.sum(0)
    gradient_CV = gradient_CV.to(hidden_CH.dtype)
    if hidden_TH is not None:
        hidden_TH[rows] = (gradient_CV @ head_VH).to(hidden_TH.dtype)
    if total_VH is not None and total_VH.dtype == gradient_CV.dtype:
        total_VH.addmm_(gradient_CV.T, hidden_CH)
    elif total_VH is not None:
        total_VH += gradient_CV.T @ hidden_CH


def _chunks(n: int, size: int) -> list[slice]:
    """Slices that cover n positions, at most `size` each and all about equally long."""
    if n == 0:
        return []
    even = math.ceil(n / math.ceil(n / size))
    return [slice(start, start + even) for start in range(0, n, even)]


def _chunk_tokens(head_VH: Tensor, *, alone: bool) -> int:
    on_cpu = head_VH.device.type == "cpu"
    elements = (_ELEMENTS_ALONE if alone else _ELEMENTS_TEACHER) if on_cpu else _ELEMENTS_GPU
    return max(32, elements // head_VH.shape[0])


def _common_factor(
    wanted: tuple[float, float], promised: tuple[float, float], *, has_teacher: bool
) -> float | None:
    """c with wanted = c * promised to the precision of float32, else None; without a teacher only ce has a say."""
    pairs = list(zip(wanted, promised, strict=True))[0 if has_teacher else 1 :]
    largest = max(pairs, key=lambda pair: abs(pair[1]))
    if largest[1] == 0.0:
        return None
    factor = largest[0] / largest[1]
    return (
        factor
        if all(math.isclose(want, factor * promise, rel_tol=1e-6) for want, promise in pairs)
        else None
    )
