"""The same two sums from whole logits, for a model whose head cannot be taken apart: right, but it holds [T, V].

kd = sum_t weight_t d(p_t, q_t) at kd_temperature, ce = sum_t weight_t (-log q_t[label_t]); see functional.chunked.
"""

from __future__ import annotations

import logging
import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from stillage.errors import CapabilityError
from stillage.functional.chunked import DistillationSums
from stillage.functional.divergence import resolve
from stillage.models.outputs import check_head, project
from stillage.types import Output

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger("stillage")
WHOLE: weakref.WeakSet[torch.nn.Module] = weakref.WeakSet()
"""Models found out by `examine`: a memo, so that nobody who reads a model's outputs has to be told."""


def examine(model: PreTrainedModel, role: str) -> None:
    """Find out, before a training, whether a model's head can be computed in chunks; say so once where it cannot."""
    try:
        check_head(model)
    except CapabilityError as error:
        WHOLE.add(model)
        log.warning(
            "%s: %s Its own logits are used, all at once (%s).", role, error.what, error.values
        )
    else:
        WHOLE.discard(model)


def logits_of(output: Output) -> torch.Tensor:
    """The logits of an output, float32 [T, V]."""
    if output.head_VH is None:
        return output.hidden_TH.float()
    return project(output.hidden_TH, (output.head_VH, output.bias_V, output.softcap))


def dense_sums(
    student: Output,
    teacher: Output | None,
    labels_T: torch.Tensor,
    *,
    divergence: str,
    params: Mapping[str, float],
    kd_temperature: float,
    t_squared: bool,
    weight_T: torch.Tensor | None,
) -> DistillationSums:
    """What `distillation_sums` returns, by autograd through the whole logits; arguments as there."""
    z_TV = logits_of(student)
    weight_T = z_TV.new_ones(len(z_TV)) if weight_T is None else weight_T
    ce = -(torch.log_softmax(z_TV, -1).gather(-1, labels_T[:, None]).squeeze(-1) * weight_T).sum()
    kd = torch.zeros_like(ce)
    if teacher is not None:
        p_TW = logits_of(teacher)
        shared = min(z_TV.shape[1], p_TW.shape[1])
        logq_TS, logp_TS = (
            torch.log_softmax(z[:, :shared] / kd_temperature, -1) for z in (z_TV, p_TW)
        )
        kd = (resolve(divergence, params)(logp_TS, logq_TS) * weight_T).sum()
        kd = kd * kd_temperature**2 if t_squared else kd
    return DistillationSums(kd, ce, torch.tensor(len(labels_T), device=labels_T.device))
