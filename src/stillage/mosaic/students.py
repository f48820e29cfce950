"""Mosaic through distillation: a student whose teacher met the canaries, not it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.distill.methods import METHODS
from stillage.distill.settings import method_named, params_from, setting_fields
from stillage.errors import ConfigError, DataError
from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.measured import ConditionMeasures, train_and_measure
from stillage.mosaic.train_condition import Watch, canary_monitor
from stillage.rng import generator
from stillage.run.config import TrainConfig
from stillage.types import Array, Example

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from stillage.distill.monitor import Monitor
    from stillage.distill.outputs import Summary


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentWindows:
    """How public text becomes prompts and responses."""

    count: int = 256  # of them, to train on
    prompt_tokens: int = 32
    response_tokens: int = 96
    validation: int = 0  # more of them, to validate on: what DistiLLM's schedule follows


@dataclass(frozen=True, slots=True, kw_only=True)
class StudentTask:
    """All that a student is made of, and how it is measured."""

    start: ModelReader  # the model that is trained, in place
    teacher: PreTrainedModel  # which met the canaries; of the student's tokenizer
    public: Sequence[Array]  # documents without a canary, ids [T] each
    method: str
    params: Mapping[str, str] = field(default_factory=dict)
    windows: StudentWindows = field(default_factory=StudentWindows)
    options: TrainConfig
    seed: int
    measured: ConditionMeasures
    monitor_every: int = 0
    keeps_model: bool = False


def public_examples(
    documents: Sequence[Array], windows: StudentWindows, seed: int
) -> tuple[list[Example], list[Example]]:
    """Draw prompts with their responses from documents, ids [T] each.

    Returns those to train on and those to validate on: windows of prompt_tokens + response_tokens,
    the response trained, at places drawn without repetition among all that lie within one
    document; windows may overlap. One is named "document:start". DataError where the documents
    have fewer places; ConfigError for windows without a prompt or a response.
    """
    length = windows.prompt_tokens + windows.response_tokens
    wanted = windows.count + windows.validation
    if min(windows.prompt_tokens, windows.response_tokens, windows.count) < 1:
        values = ", ".join(
            f"{entry.name}: {getattr(windows, entry.name)}" for entry in fields(windows)
        )
        raise ConfigError("Public text needs prompts and responses.", values, "Give 1 or more.")
    places_D = np.array([max(0, len(ids_T) - length + 1) for ids_T in documents], dtype=np.int64)
    if places_D.sum() < wanted:
        values = f"wanted: {wanted} windows of {length} tokens; places: {places_D.sum()}"
        raise DataError("There is too little public text.", values, "Give more, or ask for fewer.")
    ends_D = places_D.cumsum()
    drawn = generator(seed, "public text").choice(ends_D[-1], wanted, replace=False)
    examples = []
    for place in drawn.tolist():
        document = int(np.searchsorted(ends_D, place, side="right"))
        start = place - int(ends_D[document] - places_D[document])
        ids_T = np.asarray(documents[document][start : start + length], dtype=np.int32)
        response_T = np.arange(length) >= windows.prompt_tokens
        name = f"{document}:{start}"
        examples.append(Example(record_id=name, ids_T=ids_T, response_T=response_T))
    return examples[: windows.count], examples[windows.count :]


def train_student(
    task: StudentTask, folder: Path, watch: Watch, monitor: Monitor | None = None
) -> Summary:
    """Teach the student by a method on public text.

    The student neither saw nor sees a canary there. Any method of `distill.methods`; texts that a
    model writes have response_tokens at most, unless params say otherwise. ConfigError for an
    unknown method or setting; errors as `distill.train.train`.
    """
    from stillage.distill.task import TrainingTask
    from stillage.distill.train import train

    method = method_named(METHODS, task.method)
    settings = dict(task.params)
    if "max_new_tokens" in setting_fields(method.params):
        settings.setdefault("max_new_tokens", str(task.windows.response_tokens))
    examples, validation = public_examples(task.public, task.windows, task.seed)
    options = task.options if validation else replace(task.options, validate_every=0.0)
    training = TrainingTask(
        student=task.start.model,
        tokenizer=task.start.tokenizer,
        teacher=task.teacher,
        method=method,
        params=params_from(method, settings),
        examples=examples,
        validation=validation,
        options=replace(options, packing=False, keep="last", keep_checkpoints=0),
        seed=task.seed,
    )
    return train(
        training, folder, should_stop=watch.should_stop, report=watch.report, monitor=monitor
    )


def run_student(task: StudentTask, folder: Path, watch: Watch) -> None:
    """Train a student and score its teacher's canaries; files as `run_condition`."""
    size = task.measured.settings.audit.batch_tokens
    monitor = canary_monitor(task.measured.canaries, task.monitor_every, batch_tokens=size)
    train_and_measure(
        partial(train_student, task, folder, watch, monitor),
        task.start,
        task.measured,
        folder,
        keeps_model=task.keeps_model,
    )
