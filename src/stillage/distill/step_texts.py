"""The texts of each step: the plan's, the student's, or a cycle's.

Every draw is a function of (seed, step) and of a state that all processes share: all agree.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from stillage.distill.generation import GenerationContext, TextWriter, score_texts, write_texts
from stillage.distill.texts import from_tensors, to_tensors, with_extras
from stillage.distill.training_plan import Plan
from stillage.rng import generator
from stillage.types import Example, MixedRollout, StudentRollout, StudentState

Saved = tuple[dict[str, Any], dict[str, torch.Tensor]]
"""What a checkpoint keeps: a JSON state, and texts as tensors."""


class PlannedTexts:
    """The texts that the plan has: the records' own, or what the teacher wrote before."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.source = plan, ""  # who wrote the texts of a step: always the same

    def at(self, step: int, progress: float) -> list[Example]:
        """The examples of the plan."""
        return self.plan.step_examples(step)

    def validated(self, loss: float) -> None:
        """Change nothing."""

    def saved(self) -> Saved:
        """Nothing."""
        return {}, {}

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Change nothing."""


class StudentTexts:
    """The step's records as they are, or the student's answers, new or old."""

    def __init__(self, rollout: StudentRollout, plan: Plan, context: GenerationContext) -> None:
        self.rollout, self.plan, self.context = rollout, plan, context
        self.writer = TextWriter(model=plan.task.student, decoding=rollout.decoding)
        self.state, self.source = rollout.start, "data"
        self.buffer: deque[Example] = deque(maxlen=rollout.capacity)  # first in, first out

    def at(self, step: int, progress: float) -> list[Example]:
        """The texts of the step's source."""
        plan, records = self.plan, self.plan.step_examples(step)
        draw = float(generator(plan.task.seed, "source", step).random())
        self.source = self.rollout.source(self.state, draw, min(1.0, (progress + 1) / plan.total))
        if self.source == "data":
            return records
        texts: list[Example] = []
        if self.source != "replay":
            names = [noise_name(step, example) for example in records]
            texts = write_texts(self.context, self.writer, records, names)
            self.buffer.extend(texts)
            self.state = dataclasses.replace(self.state, buffered=len(self.buffer))
        if self.source in ("replay", "student_then_replay"):
            rng, count = generator(plan.task.seed, "replay", step), len(self.buffer)
            rows = rng.choice(count, min(len(records), count), replace=False)
            texts = [self.buffer[row] for row in rows]
        return texts

    def validated(self, loss: float) -> None:
        """Let the share of the student's texts follow the validation loss."""
        if self.rollout.validated is not None:
            self.state = self.rollout.validated(self.state, loss)

    def saved(self) -> Saved:
        """The state of the schedule, and the replay buffer."""
        return dataclasses.asdict(self.state), to_tensors(self.buffer, "buffer")

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue where a checkpoint was written."""
        self.state = StudentState(**state)
        self.buffer.extend(from_tensors(tensors, "buffer"))


class CycleTexts:
    """A part of the cycle's texts, which are written when the cycle begins."""

    def __init__(self, rollout: MixedRollout, plan: Plan, context: GenerationContext) -> None:
        assert plan.task.teacher is not None
        self.rollout, self.plan, self.context = rollout, plan, context
        self.student, self.teacher = plan.task.student, plan.task.teacher
        self.source = "mixed" if rollout.teacher_share else "student"
        self.cycle: list[Example] = []

    def at(self, step: int, progress: float) -> list[Example]:
        """The step's part of the cycle, annotated."""
        seed, parts = self.plan.task.seed, self.steps_per_pass()
        cycle, place = divmod(step, parts * self.rollout.inner_epochs)
        if place == 0:
            self.cycle = self.scored(self.written(range(cycle * parts, (cycle + 1) * parts)))
        inner, part = divmod(place, parts)
        order = generator(seed, "inner", cycle, inner).permutation(len(self.cycle))
        texts = [self.cycle[row] for row in np.array_split(order, parts)[part]]
        logps = [(text.extras["logq"], text.extras["logp"]) for text in texts]
        extras = self.rollout.annotate(logps)
        return [with_extras(text, extra) for text, extra in zip(texts, extras, strict=True)]

    def steps_per_pass(self) -> int:
        """Steps in a pass over a cycle's texts: at most an epoch's or the training's."""
        asked = round(self.rollout.cycle_records / self.plan.options.batch_size)
        trained = math.ceil(self.plan.total / self.rollout.inner_epochs)
        return max(1, min(asked, self.plan.per_epoch, trained))

    def written(self, steps: Sequence[int]) -> list[Example]:
        """New texts for the records of these steps, by student and teacher."""
        records = [(step, example) for step in steps for example in self.plan.step_examples(step)]
        writer = TextWriter(
            model=self.student,
            decoding=self.rollout.decoding,
            teacher=self.teacher,
            teacher_share=self.rollout.teacher_share,
        )
        names = [noise_name(step, example) for step, example in records]
        return write_texts(self.context, writer, [example for _, example in records], names)

    def scored(self, texts: Sequence[Example]) -> list[Example]:
        """The texts with log q, of the student of now, and log p of each trained token."""
        options, width = self.plan.options, self.rollout.decoding.max_new_tokens
        size = options.micro_batch_size or options.batch_size
        logq, logp = (
            score_texts(self.context, model, texts, batch_size=size, width=width)
            for model in (self.student, self.teacher)
        )
        return [
            with_extras(text, {"logq": logq_T, "logp": logp_T})
            for text, logq_T, logp_T in zip(texts, logq, logp, strict=True)
        ]

    def validated(self, loss: float) -> None:
        """Change nothing."""

    def saved(self) -> Saved:
        """The texts of the cycle."""
        return {}, to_tensors(self.cycle, "cycle")

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue where a checkpoint was written."""
        self.cycle = from_tensors(tensors, "cycle")


StepTexts = PlannedTexts | StudentTexts | CycleTexts
"""Gives each step its texts, and takes part in checkpoints."""


def step_texts(plan: Plan, context: GenerationContext) -> StepTexts:
    """The texts of a training, by the kind of its rollout."""
    rollout = plan.task.rollout
    if isinstance(rollout, StudentRollout):
        return StudentTexts(rollout, plan, context)
    if isinstance(rollout, MixedRollout):
        return CycleTexts(rollout, plan, context)
    return PlannedTexts(plan)


def noise_name(step: int, example: Example) -> str:
    """The name of a text's noise: the step of its record, and the record."""
    return f"{step} {example.record_id}"
