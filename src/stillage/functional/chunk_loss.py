"""One chunk of positions: its logits, two losses, and their gradient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from stillage.errors import ConfigError
from stillage.functional.loss_inputs import LossInputs
from stillage.types import Readout

Divergence = Callable[[Tensor, Tensor], Tensor]
_BLOCK_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance:
    """What is summed beside cross-entropy: factor * divergence(p, q) at a temperature."""

    divergence: Divergence
    kd_temperature: float
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkSums:
    """Sums over a chunk, and their weighted gradient at the logits before the cap."""

    kd: Tensor
    ce: Tensor
    gradient_CV: Tensor | None


def chunk_sums(
    chunk: LossInputs, distance: Distance, gradient_weights: tuple[float, float] | None
) -> ChunkSums:
    """Compute both losses of a chunk; with gradient_weights also their gradient.

    With u = log q at temperature T: dL/dz = (g - q sum_v g) / T, g = dL/du. Only g needs autograd,
    through the divergence alone: any function of (p, q) will do, and no other [C, V] tensor is
    kept. The teacher's vocabulary must be the first part of the student's, or all of it.
    """
    if chunk.teacher is None:
        ce, gradient_CV = _cross_entropy(
            chunk, None if gradient_weights is None else gradient_weights[1]
        )
        return ChunkSums(kd=torch.zeros_like(ce), ce=ce, gradient_CV=gradient_CV)
    return _with_teacher(chunk, chunk.teacher, distance, gradient_weights)


def _cross_entropy(chunk: LossInputs, ce_weight: float | None) -> tuple[Tensor, Tensor | None]:
    """Sum weight_t (-log q_t[label_t]), and write its gradient over the logits."""
    labels_C, weight_C = chunk.labels_T, chunk.weight_T
    assert weight_C is not None
    z_CV = _logits(chunk.student)
    slope_CV = None if ce_weight is None else _slope(z_CV, chunk.student.head.softcap)
    label_C1, top_C1 = z_CV.gather(-1, labels_C[:, None]), z_CV.amax(-1, keepdim=True)
    total_C1 = z_CV.sub_(top_C1).exp_().sum(-1, keepdim=True)
    ce = ((top_C1 + total_C1.log() - label_C1).squeeze(-1) * weight_C).sum()
    if ce_weight is None:
        return ce, None
    weight_C1 = (ce_weight * weight_C)[:, None]
    gradient_CV = z_CV.mul_(weight_C1 / total_C1).scatter_add_(-1, labels_C[:, None], -weight_C1)
    return ce, gradient_CV if slope_CV is None else gradient_CV.mul_(slope_CV)


def _with_teacher(
    chunk: LossInputs,
    teacher: Readout,
    distance: Distance,
    gradient_weights: tuple[float, float] | None,
) -> ChunkSums:
    """Compute both sums and the weighted gradient; free at once what is done with."""
    labels_C, weight_C = chunk.labels_T, chunk.weight_T
    assert weight_C is not None
    kd_weight, ce_weight = gradient_weights or (0.0, 0.0)
    temperature, shared = distance.kd_temperature, teacher.vocabulary
    z_CV = _logits(chunk.student)
    slope_CV = None if gradient_weights is None else _slope(z_CV, chunk.student.head.softcap)
    logq_CV = logq_CS = torch.log_softmax(z_CV, -1)
    ce = -(logq_CV.gather(-1, labels_C[:, None]).squeeze(-1) * weight_C).sum()
    if temperature != 1.0 or shared != z_CV.shape[-1]:
        logq_CS = torch.log_softmax(z_CV[:, :shared] / temperature, -1)
    del z_CV
    logp_CS = torch.log_softmax(_logits(teacher).div_(temperature), -1)
    kd, g_CS = _divergence_sum(logp_CS, logq_CS, weight_C, distance, kd_weight)
    del logp_CS
    if gradient_weights is None:
        return ChunkSums(kd=kd, ce=ce, gradient_CV=None)
    weight_C1 = (ce_weight * weight_C)[:, None]
    if g_CS is not None and logq_CS is logq_CV:
        gradient_CV = g_CS.addcmul_(logq_CV.exp_(), weight_C1 - g_CS.sum(-1, keepdim=True))
    else:
        gradient_CV = logq_CV.exp_().mul_(weight_C1)
        if g_CS is not None:
            g_CS.addcmul_(logq_CS.exp_(), g_CS.sum(-1, keepdim=True), value=-1)
            gradient_CV[:, :shared].add_(g_CS, alpha=1 / temperature)
    gradient_CV.scatter_add_(-1, labels_C[:, None], -weight_C1)
    return ChunkSums(
        kd=kd, ce=ce, gradient_CV=gradient_CV if slope_CV is None else gradient_CV.mul_(slope_CV)
    )


def _logits(readout: Readout) -> Tensor:
    """Make the logits [C, V] of a readout with a head in little memory.

    As `functional.readout.project` does, but in place, the bias in float32, and on a CPU by blocks
    of the vocabulary; no gradient flows.
    """
    head = readout.head
    assert head.weight_VH is not None
    z_CV = _product(readout.hidden_TH, head.weight_VH)
    z_CV = z_CV.float() if z_CV.dtype in (torch.float16, torch.bfloat16) else z_CV
    if head.bias_V is not None:
        z_CV += head.bias_V
    if head.softcap is not None:
        z_CV.div_(head.softcap).tanh_().mul_(head.softcap)
    return z_CV


def _slope(capped_CV: Tensor, softcap: float | None) -> Tensor | None:
    """d capped / d logits = 1 - tanh^2."""
    return None if softcap is None else (capped_CV / softcap).square_().neg_().add_(1)


def _product(hidden_CH: Tensor, weight_VH: Tensor) -> Tensor:
    """Multiply hidden weight'; on a CPU by blocks of the vocabulary, kept in cache."""
    vocabulary = weight_VH.shape[0]
    if hidden_CH.device.type != "cpu" or vocabulary <= 2 * _BLOCK_ROWS:
        return hidden_CH @ weight_VH.T
    z_CV = hidden_CH.new_empty(hidden_CH.shape[0], vocabulary)
    for start in range(0, vocabulary, _BLOCK_ROWS):
        block = slice(start, start + _BLOCK_ROWS)
        torch.mm(hidden_CH, weight_VH[block].T, out=z_CV[:, block])
    return z_CV


def _divergence_sum(
    logp_CS: Tensor, logq_CS: Tensor, weight_C: Tensor, distance: Distance, kd_weight: float
) -> tuple[Tensor, Tensor | None]:
    """Sum factor weight_t d(p_t, q_t), and kd_weight its gradient at log q (0: None)."""
    leaf_CS = logq_CS.detach()
    with torch.set_grad_enabled(kd_weight != 0.0):
        leaf_CS.requires_grad_(kd_weight != 0.0)
        d_C = distance.divergence(logp_CS, leaf_CS)
        if d_C.shape != weight_C.shape:
            raise ConfigError(
                "The divergence does not return one number per position.",
                f"log-probabilities {tuple(logp_CS.shape)} -> {tuple(d_C.shape)}, "
                f"expected {tuple(weight_C.shape)}",
                "Sum over the last axis only, and leave masks and means to the caller.",
            )
        total = (d_C * weight_C).sum() * distance.factor
        g_CS = torch.autograd.grad(total * kd_weight, leaf_CS)[0] if kd_weight != 0.0 else None
    return total.detach(), g_CS
