"""What the chunked losses are given: checked, cut to the shared vocabulary, and to the positions that count."""

from __future__ import annotations

import functools
import logging
import math
from typing import NamedTuple

import torch
from torch import Tensor

from stillage.errors import ConfigError, DataError, ModelError


class Inputs(NamedTuple):
    """The tensors of a call; the first three are the student's, and trained."""

    hidden_TH: Tensor
    head_VH: Tensor
    bias_V: Tensor | None
    teacher_hidden_TG: Tensor | None
    teacher_head_WG: Tensor | None
    teacher_bias_W: Tensor | None
    labels_T: Tensor
    weight_T: Tensor | None


def checked(inputs: Inputs) -> Inputs:
    """The inputs, if their shapes fit together; ModelError otherwise."""
    positions = inputs.labels_T.shape
    _check_side("student", inputs.hidden_TH, inputs.head_VH, inputs.bias_V, positions)
    hidden, head = inputs.teacher_hidden_TG, inputs.teacher_head_WG
    if hidden is not None and head is not None:
        _check_side("teacher", hidden, head, inputs.teacher_bias_W, positions)
    elif hidden is not None or head is not None:
        values = "hidden states without a head" if head is None else "a head without hidden states"
        raise ModelError(
            "Half a teacher.", values, "Give both, or neither for cross-entropy alone."
        )
    if inputs.weight_T is not None and inputs.weight_T.shape != positions:
        values = f"weight_T {tuple(inputs.weight_T.shape)}, labels {tuple(positions)}"
        raise ModelError(
            "weight_T is not one weight per position.", values, "Give weight_T of shape [T]."
        )
    return inputs


def shared_vocabulary(inputs: Inputs) -> Inputs:
    """The teacher's head cut to the ids that both have: a padded vocabulary has extra rows at its end."""
    head_WG, bias_W = inputs.teacher_head_WG, inputs.teacher_bias_W
    if head_WG is None or head_WG.shape[0] == inputs.head_VH.shape[0]:
        return inputs
    student_size, teacher_size = inputs.head_VH.shape[0], head_WG.shape[0]
    _notice(student_size, teacher_size)
    bias_S = None if bias_W is None else bias_W[:student_size]
    return inputs._replace(teacher_head_WG=head_WG[:student_size], teacher_bias_W=bias_S)


def trained_positions(inputs: Inputs, ignore_index: int) -> Inputs:
    """Only the positions that count: a label, and a weight other than 0. DataError for a label outside the vocabulary."""
    kept_T = inputs.labels_T != ignore_index
    if inputs.weight_T is not None:
        kept_T = kept_T & (inputs.weight_T != 0)
    if not bool(kept_T.all()):
        rows = kept_T.nonzero().squeeze(-1)
        teacher, weight = inputs.teacher_hidden_TG, inputs.weight_T
        inputs = inputs._replace(
            hidden_TH=inputs.hidden_TH.index_select(0, rows),
            teacher_hidden_TG=None if teacher is None else teacher.index_select(0, rows),
            labels_T=inputs.labels_T.index_select(0, rows),
            weight_T=None if weight is None else weight.index_select(0, rows),
        )
    labels_T, vocabulary = inputs.labels_T, inputs.head_VH.shape[0]
    if len(labels_T) and not 0 <= int(labels_T.min()) <= int(labels_T.max()) < vocabulary:
        raise DataError(
            "A label is not a token of the student.",
            f"labels {int(labels_T.min())} to {int(labels_T.max())}, {vocabulary} tokens, ignore_index {ignore_index}",
            "Tokenise with the student's tokenizer, and mark what is not trained with ignore_index.",
        )
    return inputs


def matmul_dtype(hidden: Tensor | None, head: Tensor | None) -> torch.dtype:
    """Autocast's dtype where it is on, else the narrower of the two: what the model itself would multiply in."""
    if hidden is None or head is None:
        return torch.float32
    if torch.is_autocast_enabled(hidden.device.type):
        return torch.get_autocast_dtype(hidden.device.type)
    return min(hidden.dtype, head.dtype, key=lambda dtype: dtype.itemsize)


def check_positive(names: tuple[str, ...], values: tuple[float | None, ...]) -> None:
    """ConfigError unless every value that is given is a positive number."""
    for name, value in zip(names, values, strict=True):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(
                f"{name} must be positive.",
                f"{name} = {value}",
                f"Leave {name} out, or choose it above 0.",
            )


def _check_side(
    side: str, hidden: Tensor, head: Tensor, bias: Tensor | None, positions: torch.Size
) -> None:
    matrices = hidden.dim() == head.dim() == 2 and hidden.shape[1] == head.shape[1]
    if (
        matrices
        and hidden.shape[:1] == positions
        and (bias is None or bias.shape == head.shape[:1])
    ):
        return
    shapes = {"hidden": hidden.shape, "head": head.shape, "labels": positions}
    shapes |= {} if bias is None else {"bias": bias.shape}
    raise ModelError(
        f"The {side}'s hidden states, head and labels do not fit together.",
        ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()),
        "Give hidden [T, H], head [V, H], bias [V] and labels [T], flattened over sequences.",
    )


@functools.cache
def _notice(student_size: int, teacher_size: int) -> None:
    """Once per pair of sizes."""
    logging.getLogger("stillage").warning(
        "Vocabularies of %d (student) and %d (teacher) ids: the first %d are compared, the others are left out.",
        student_size,
        teacher_size,
        min(student_size, teacher_size),
    )
