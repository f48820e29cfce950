"""Divergence and cross-entropy from hidden states: no [T, V] tensor ever exists.

The logits of a chunk are made, give their share of the sums and of the gradients, and are dropped;
what stays is as large as the hidden states and the head. One chunk is in `functional.chunk_loss`;
here are the loop and its place in autograd.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from stillage.errors import ModelError
from stillage.functional.chunk_loss import Distance, chunk_sums
from stillage.functional.divergence import resolve
from stillage.functional.loss_inputs import (
    LossInputs,
    check_positive,
    check_shapes,
    matmul_dtype,
    shared_vocabulary,
    trained_positions,
)
from stillage.functional.readout import label_logp, logits
from stillage.types import Head, Readout

# Logits in a chunk: on a CPU about eight such tensors are alive with a teacher, one without.
_ELEMENTS_TEACHER, _ELEMENTS_ALONE, _ELEMENTS_GPU = 4 * 2**20, 13 * 2**20, 32 * 2**20


class DistillationSums(NamedTuple):
    """Token sums over the trained positions; the loop divides once by global tokens."""

    kd: Tensor  # sum of weight * divergence; 0 without a teacher
    ce: Tensor  # sum of weight * cross-entropy with the labels
    tokens: Tensor  # int64, number of labels != ignore_index, whatever their weight


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """How `distillation_sums` compares: its settings, with their meaning there."""

    divergence: str | Callable[..., Tensor] = "fkl"
    params: Mapping[str, float] = field(default_factory=dict)
    kd_temperature: float = 1.0
    t_squared: bool = False
    gradient_weights: tuple[float, float] = (1.0, 1.0)
    chunk_tokens: int | None = None
    ignore_index: int = -100


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
    """Sum the two losses of distillation over the trained positions, in little memory.

    kd = sum_t weight_t d(p_t, q_t), with p and q the softmax of logits / kd_temperature, times
    kd_temperature^2 if t_squared; ce = sum_t weight_t (-log q_t[label_t]) at temperature 1; logits
    = hidden head' + bias, then cap * tanh(logits / cap). labels_T[t] is what position t predicts
    (already shifted). Without a teacher (hidden and head None) kd is 0 and costs nothing.

    Differentiable in the student's hidden states, head (tied, or the effective weight of an
    adapter) and bias; the teacher and the weights are constants. Logits are multiplied in the dtype
    of the inputs (autocast's where that is on) and read as float32; the head's gradient is summed
    in the head's own dtype. Vocabularies of different size are compared on their shared first ids,
    renormalised over those; cross-entropy always sees all V. Raises UserError where shapes or
    settings clash.

    Args:
        divergence: a name of DIVERGENCES, or any function (p, q, **params) -> d of
            log-probabilities.
        gradient_weights: the proportion in which kd and ce will be added before `backward`. With
            another one the gradients are right too, but computed anew (about twice the time).
        chunk_tokens: positions at a time; None chooses by vocabulary and device.
        ignore_index: the label of positions that are not trained.
    """
    student = Readout(student_hidden_TH, Head(student_head_VH, student_bias_V, student_softcap))
    teacher = None
    if teacher_hidden_TG is not None and teacher_head_WG is not None:
        teacher = Readout(teacher_hidden_TG, Head(teacher_head_WG, teacher_bias_W, teacher_softcap))
    elif teacher_hidden_TG is not None or teacher_head_WG is not None:
        missing = "hidden states without a head", "a head without hidden states"
        raise ModelError(
            "Half a teacher.",
            missing[teacher_hidden_TG is None],
            "Give both, or neither for cross-entropy alone.",
        )
    settings = LossSettings(
        divergence=divergence,
        params=params,
        kd_temperature=kd_temperature,
        t_squared=t_squared,
        gradient_weights=gradient_weights,
        chunk_tokens=chunk_tokens,
        ignore_index=ignore_index,
    )
    return readout_sums(LossInputs(student, teacher, labels_T, weight_T), settings)


def readout_sums(given: LossInputs, settings: LossSettings) -> DistillationSums:
    """Compute `distillation_sums` of two readouts, with heads or whole logits."""
    check_positive(
        kd_temperature=settings.kd_temperature,
        student_softcap=given.student.head.softcap,
        teacher_softcap=None if given.teacher is None else given.teacher.head.softcap,
        chunk_tokens=settings.chunk_tokens,
    )
    tokens = (given.labels_T != settings.ignore_index).sum()
    check_shapes(given)
    given = trained_positions(shared_vocabulary(given), settings.ignore_index)
    distance = Distance(
        divergence=resolve(settings.divergence, settings.params),
        kd_temperature=settings.kd_temperature,
        factor=settings.kd_temperature**2 if settings.t_squared else 1.0,
    )
    student, teacher = given.student, given.teacher
    if student.head.weight_VH is None or (teacher is not None and teacher.head.weight_VH is None):
        return DistillationSums(*_whole_sums(given, distance), tokens)
    plan = _Plan(
        softcap=student.head.softcap,
        teacher=teacher,
        labels_T=given.labels_T,
        weight_T=given.weight_T,
        distance=distance,
        chunk_tokens=settings.chunk_tokens or _chunk_tokens(given),
        gradient_weights=settings.gradient_weights,
        student_dtype=matmul_dtype(student),
        teacher_dtype=None if teacher is None else matmul_dtype(teacher),
        differentiable=torch.is_grad_enabled(),
    )
    head = student.head
    kd, ce = _Sums.apply(plan, student.hidden_TH, head.weight_VH, head.bias_V)
    return DistillationSums(kd, ce, tokens)


def _whole_sums(given: LossInputs, distance: Distance) -> tuple[Tensor, Tensor]:
    """Compute both sums by autograd through whole logits: right, but it holds [T, V]."""
    z_TV, labels_T = logits(given.student), given.labels_T
    weight_T = z_TV.new_ones(len(z_TV)) if given.weight_T is None else given.weight_T
    ce = -(label_logp(z_TV, labels_T) * weight_T).sum()
    if given.teacher is None:
        return torch.zeros_like(ce), ce
    p_TS = logits(given.teacher).detach()
    logq_TS, logp_TS = (
        torch.log_softmax(z[:, : p_TS.shape[1]] / distance.kd_temperature, -1) for z in (z_TV, p_TS)
    )
    return (distance.divergence(logp_TS, logq_TS) * weight_T).sum() * distance.factor, ce


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is computed, and how: all but the tensors that are differentiated."""

    softcap: float | None  # of the student's logits
    teacher: Readout | None
    labels_T: Tensor
    weight_T: Tensor | None
    distance: Distance
    chunk_tokens: int
    gradient_weights: tuple[float, float]
    student_dtype: torch.dtype
    teacher_dtype: torch.dtype | None
    differentiable: bool


_Trained = tuple[Tensor, Tensor, Tensor | None]
"""The student's hidden states, head and bias."""
_Gradients = tuple[Tensor | None, Tensor | None, Tensor | None]
"""Of the same three; None where nobody asked."""


class _Sums(torch.autograd.Function):
    """The two sums as one node of the graph, with gradients made beside the values."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *trained: Any) -> tuple[Tensor, Tensor]:  # noqa: ANN401
        """Compute the sums; keep the tensors and, where one is trained, its gradients."""
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*trained)
        ctx.plan = plan
        ctx.needs = ctx.needs_input_grad[1:] if plan.differentiable else (False, False, False)
        kd, ce, ctx.gradients = _sums(plan, trained, plan.gradient_weights, ctx.needs)
        return kd, ce

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any,  # noqa: ANN401
        *grads: Tensor | None,
    ) -> tuple[Tensor | None, ...]:
        """Scale the kept gradients; make them anew for another proportion."""
        plan, trained = ctx.plan, ctx.saved_tensors
        kd, ce = (0.0 if grad is None else float(grad) for grad in grads)
        has_teacher = plan.teacher is not None
        factor = _common_factor((kd, ce), plan.gradient_weights, has_teacher=has_teacher)
        kept, ctx.gradients = ctx.gradients, None
        if kept is None or factor is None:
            del kept
            return (None, *_sums(plan, trained, (kd, ce), ctx.needs)[2])
        # In place: they are ours alone, and as large as the head.
        return (None, *(None if one is None else one.mul_(factor) for one in kept))


def _sums(
    plan: _Plan,
    trained: _Trained,
    gradient_weights: tuple[float, float],
    needs: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, _Gradients]:
    """Compute kd, ce and the gradients of gradient_weights . (kd, ce), chunk by chunk."""
    hidden_TH, head_VH, bias_V = (
        torch.zeros_like(x) if need and x is not None else None
        for x, need in zip(trained, needs, strict=True)
    )
    gradients = hidden_TH, head_VH, bias_V
    real = torch.promote_types(plan.student_dtype, torch.float32)
    totals = trained[0].new_zeros(2, dtype=real)
    with torch.no_grad(), torch.autocast(trained[0].device.type, enabled=False):
        given = _cast(plan, trained, real)
        for rows in _chunks(len(given.labels_T), plan.chunk_tokens):
            part = given.rows(lambda tensor, rows=rows: tensor[rows])
            chunk = chunk_sums(part, plan.distance, gradient_weights if any(needs) else None)
            totals += torch.stack((chunk.kd, chunk.ce))
            if chunk.gradient_CV is not None:
                _accumulate(gradients, rows, chunk.gradient_CV, part.student)
    return totals[0].clone(), totals[1].clone(), gradients


def _cast(plan: _Plan, trained: _Trained, real: torch.dtype) -> LossInputs:
    """Convert the inputs to what is multiplied and summed in, once for all chunks."""
    hidden_TH, head_VH, bias_V = trained
    head = Head(head_VH.to(plan.student_dtype), bias_V, plan.softcap)
    student = Readout(hidden_TH.to(plan.student_dtype), head)
    teacher, weight_T = plan.teacher, plan.weight_T
    if teacher is not None and teacher.head.weight_VH is not None:
        weight_WG = teacher.head.weight_VH.to(plan.teacher_dtype)
        hidden_TG = teacher.hidden_TH.to(plan.teacher_dtype)
        teacher = Readout(hidden_TG, replace(teacher.head, weight_VH=weight_WG))
    ones_T = hidden_TH.new_ones(len(hidden_TH), dtype=real)
    weight_T = ones_T if weight_T is None else weight_T.to(real)
    return LossInputs(student, teacher, plan.labels_T, weight_T)


def _accumulate(gradients: _Gradients, rows: slice, gradient_CV: Tensor, student: Readout) -> None:
    """Add one chunk's share of the three gradients, in place."""
    hidden_TH, total_VH, bias_V = gradients
    hidden_CH, head_VH = student.hidden_TH, student.head.weight_VH
    assert head_VH is not None
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
    """Cut n positions into slices of at most `size`, all about equally long."""
    if n == 0:
        return []
    even = math.ceil(n / math.ceil(n / size))
    return [slice(start, start + even) for start in range(0, n, even)]


def _chunk_tokens(given: LossInputs) -> int:
    """Choose how many positions a chunk has."""
    elements = _ELEMENTS_ALONE if given.teacher is None else _ELEMENTS_TEACHER
    if given.labels_T.device.type != "cpu":
        elements = _ELEMENTS_GPU
    return max(32, elements // given.student.vocabulary)


def _common_factor(
    wanted: tuple[float, float], promised: tuple[float, float], *, has_teacher: bool
) -> float | None:
    """Find c: wanted = c * promised in float32, else None; without a teacher for ce."""
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
