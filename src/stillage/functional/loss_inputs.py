"""What a loss is given: checked, and cut to what the models share and count."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from stillage.errors import ConfigError, DataError, ModelError
from stillage.types import Head, Readout


@dataclass(frozen=True, slots=True)
class LossInputs:
    """What a loss compares at T positions; without a teacher cross-entropy alone."""

    student: Readout
    teacher: Readout | None
    labels_T: Tensor
    weight_T: Tensor | None = None

    def rows(self, choose: Callable[[Tensor], Tensor]) -> LossInputs:
        """Choose some of the positions."""
        student, teacher, weight_T = self.student, self.teacher, self.weight_T
        return LossInputs(
            replace(student, hidden_TH=choose(student.hidden_TH)),
            None if teacher is None else replace(teacher, hidden_TH=choose(teacher.hidden_TH)),
            choose(self.labels_T),
            None if weight_T is None else choose(weight_T),
        )


def check_shapes(given: LossInputs) -> None:
    """Raise ModelError unless the shapes fit together."""
    positions = given.labels_T.shape
    for side, readout in (("student", given.student), ("teacher", given.teacher)):
        if readout is not None:
            _check_side(side, readout, positions)
    if given.weight_T is not None and given.weight_T.shape != positions:
        values = f"weight_T {tuple(given.weight_T.shape)}, labels {tuple(positions)}"
        raise ModelError(
            "weight_T is not one weight per position.", values, "Give weight_T of shape [T]."
        )


def shared_vocabulary(given: LossInputs) -> LossInputs:
    """Cut the teacher's head to the ids that both have, the first ones."""
    teacher, size = given.teacher, given.student.vocabulary
    if teacher is None or teacher.vocabulary == size:
        return given
    _notice(size, teacher.vocabulary)
    head = teacher.head
    if head.weight_VH is None:
        return replace(given, teacher=replace(teacher, hidden_TH=teacher.hidden_TH[:, :size]))
    bias_S = None if head.bias_V is None else head.bias_V[:size]
    cut = Head(head.weight_VH[:size], bias_S, head.softcap)
    return replace(given, teacher=replace(teacher, head=cut))


def trained_positions(given: LossInputs, ignore_index: int) -> LossInputs:
    """Keep positions that have a label and a weight; DataError for an unknown label."""
    kept_T = given.labels_T != ignore_index
    if given.weight_T is not None:
        kept_T = kept_T & (given.weight_T != 0)
    if not bool(kept_T.all()):
        places = kept_T.nonzero().squeeze(-1)
        given = given.rows(lambda rows: rows.index_select(0, places))
    labels_T, vocabulary = given.labels_T, given.student.vocabulary
    if len(labels_T) and not 0 <= int(labels_T.min()) <= int(labels_T.max()) < vocabulary:
        raise DataError(
            "A label is not a token of the student.",
            f"labels {int(labels_T.min())} to {int(labels_T.max())}, {vocabulary} tokens, "
            f"ignore_index {ignore_index}",
            "Tokenise with the student's tokenizer; mark what is not trained with ignore_index.",
        )
    return given


def matmul_dtype(readout: Readout) -> torch.dtype:
    """Return the dtype a model multiplies in: autocast's, or the narrower of the two."""
    hidden, weight = readout.hidden_TH, readout.head.weight_VH
    assert weight is not None
    if torch.is_autocast_enabled(hidden.device.type):
        return torch.get_autocast_dtype(hidden.device.type)
    return min(hidden.dtype, weight.dtype, key=lambda dtype: dtype.itemsize)


def check_positive(**values: float | None) -> None:
    """Raise ConfigError unless every value that is given is a positive number."""
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(
                f"{name} must be positive.",
                f"{name} = {value}",
                f"Leave {name} out, or choose it above 0.",
            )


def _check_side(side: str, readout: Readout, positions: torch.Size) -> None:
    hidden, head = readout.hidden_TH, readout.head
    shapes = {"hidden": hidden.shape}
    fit = hidden.dim() == 2 and hidden.shape[:1] == positions
    if head.weight_VH is not None:
        shapes["head"] = weight = head.weight_VH.shape
        fit = fit and len(weight) == 2 and hidden.shape[1] == weight[1]
        if head.bias_V is not None:
            shapes["bias"] = head.bias_V.shape
            fit = fit and head.bias_V.shape == weight[:1]
    if not fit:
        shapes["labels"] = positions
        raise ModelError(
            f"The {side}'s hidden states, head and labels do not fit together.",
            ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()),
            "Give hidden [T, H], head [V, H], bias [V] and labels [T], flattened over sequences.",
        )


@functools.cache
def _notice(student_size: int, teacher_size: int) -> None:
    """Say it once per pair of sizes."""
    logging.getLogger("stillage").warning(
        "Vocabularies of %d (student) and %d (teacher) ids: the first %d are compared, "
        "the others are left out.",
        student_size,
        teacher_size,
        min(student_size, teacher_size),
    )
