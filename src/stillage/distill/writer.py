"""Who wrote the texts of a step: the records, the student, student and teacher token by token, or a draw from before.

Every choice and every draw is a function of (seed, step) and of a state that all processes share, so that all agree.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from stillage.distill.answer import Desk, answer, score
from stillage.distill.texts import from_tensors, newest, to_tensors, with_extras
from stillage.rng import generator
from stillage.types import Example, Rollout, RolloutState

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from stillage.distill.loop import Plan


class Writer:
    """Lives as long as a training: the texts that are kept for later steps, and how often each record was trained."""

    def __init__(
        self,
        rollout: Rollout,
        plan: Plan,
        desk: Desk,
        student: PreTrainedModel,
        teacher: PreTrainedModel | None,
    ) -> None:
        self.rollout, self.plan, self.desk = rollout, plan, desk
        self.student, self.teacher = student, teacher
        self.state, self.source = rollout.start, "data"
        self.buffer: list[Example] = []  # oldest first
        self.cycle: list[Example] = []  # the texts that are trained inner_epochs times
        self.place = {example.record_id: row for row, example in enumerate(plan.examples)}
        self.times_N = np.zeros(len(plan.examples), np.int32)

    def texts(self, step: int, place: float) -> list[Example]:
        """The texts that optimiser step `step` trains on, all processes together; place: Plan.place before it."""
        found = self.of_cycle(step) if self.rollout.cycle_records else self.of_step(step, place)
        for example in found:
            self.times_N[self.place[example.record_id]] += 1
        return found

    def of_step(self, step: int, place: float) -> list[Example]:
        """The step's own records as they are, answered anew, or replaced by texts from before."""
        chosen = self.plan.chosen(step)
        draw = float(generator(self.plan.seed, "source", step).random())
        self.source = self.rollout.source(self.state, draw, min(1.0, (place + 1) / self.plan.total))
        if self.source == "data":
            return chosen
        found: list[Example] = []
        if self.source != "replay":
            found = self.written([(step, example) for example in chosen])
            self.buffer = newest([*self.buffer, *found], self.rollout.capacity)
            self.state = dataclasses.replace(self.state, buffered=len(self.buffer))
        if self.source in ("replay", "student_then_replay"):
            rng, size = (
                generator(self.plan.seed, "replay", step),
                min(len(chosen), len(self.buffer)),
            )
            found = [self.buffer[row] for row in rng.choice(len(self.buffer), size, replace=False)]
        return found

    def of_cycle(self, step: int) -> list[Example]:
        """A part of the cycle's texts, which are written when it begins; their log-probabilities stay those of then."""
        parts = self.cycle_parts()
        self.source = "mixed" if self.rollout.teacher_share else "student"
        cycle, place = divmod(step, parts * self.rollout.inner_epochs)
        if place == 0:
            steps = range(cycle * parts, (cycle + 1) * parts)
            self.cycle = self.scored(
                self.written([(part, text) for part in steps for text in self.plan.chosen(part)])
            )
        inner, part = divmod(place, parts)
        order = generator(self.plan.seed, "inner", cycle, inner).permutation(len(self.cycle))
        texts = [self.cycle[row] for row in np.array_split(order, parts)[part]]
        assert self.rollout.annotate is not None
        extras = self.rollout.annotate(
            [(text.extras["logq"], text.extras["logp"]) for text in texts]
        )
        return [with_extras(text, extra) for text, extra in zip(texts, extras, strict=True)]

    def cycle_parts(self) -> int:
        """Steps in one pass over a cycle's texts: no more than an epoch has, and no more than the training will make."""
        wanted = round(self.rollout.cycle_records / self.plan.options.batch_size)
        return max(
            1,
            min(
                wanted, self.plan.per_epoch, math.ceil(self.plan.total / self.rollout.inner_epochs)
            ),
        )

    def written(self, asked: Sequence[tuple[int, Example]]) -> list[Example]:
        """Other responses to (step of the data, example): the noise of each depends on both, and on the seed."""
        names = [f"{step} {example.record_id}" for step, example in asked]
        examples = [example for _, example in asked]
        return answer(self.desk, self.student, examples, names, self.rollout, teacher=self.teacher)

    def scored(self, texts: Sequence[Example]) -> list[Example]:
        """The texts with log q and log p of their trained tokens, under the student of now and under the teacher."""
        assert self.teacher is not None
        options, width = self.plan.options, self.rollout.max_new_tokens
        size = options.micro_batch_size or options.batch_size
        logq, logp = (
            score(self.desk, model, texts, size=size, width=width)
            for model in (self.student, self.teacher)
        )
        rows = zip(texts, logq, logp, strict=True)
        return [
            with_extras(text, {"logq": logq_T, "logp": logp_T}) for text, logq_T, logp_T in rows
        ]

    def validated(self, loss: float) -> None:
        """After a validation: the probability of written texts may change."""
        self.state = self.rollout.validated(self.state, loss)

    def times(self) -> Counter[str]:
        """How often each record was trained, by id."""
        return Counter(
            {
                record_id: int(self.times_N[row])
                for record_id, row in self.place.items()
                if self.times_N[row]
            }
        )

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps beside the state."""
        times = torch.from_numpy(self.times_N.copy())
        return {
            **to_tensors(self.buffer, "buffer"),
            **to_tensors(self.cycle, "cycle"),
            "times": times,
        }

    def restore(self, state: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
        """Continue where a checkpoint was written."""
        self.state = RolloutState(**state)
        self.buffer, self.cycle = (from_tensors(tensors, name) for name in ("buffer", "cycle"))
        self.times_N = tensors["times"].numpy().copy()
