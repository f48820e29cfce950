"""The loop: optimiser steps, validations and checkpoints, one process or many, resumable at any step.

Per step: loss = sum of the method's token sums / trained tokens of the whole step, over micro-batches and processes. What a
step does is a function of the weights, the moments and (seed, step) alone, so a resumed training repeats it bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stillage.distill import checkpoint
from stillage.distill.batches import (
    micro_batches,
    records_of_step,
    steps_per_epoch,
    trained_tokens,
    validation_batches,
)
from stillage.distill.corpus import Corpus
from stillage.distill.journal import Journal
from stillage.distill.objective import Objective
from stillage.distill.optimiser import lr_at, set_lr
from stillage.distill.precision import Precision
from stillage.distill.processes import agreed, summed
from stillage.distill.validate import validation_sums
from stillage.distill.writer import Writer
from stillage.errors import Interrupted, ModelError
from stillage.models.decoder import read
from stillage.models.load import save_model
from stillage.models.padding import collate, collate_packed
from stillage.rng import derive
from stillage.run.config import TrainConfig
from stillage.types import Batch, Example, Readout

if TYPE_CHECKING:
    from accelerate import Accelerator
    from transformers import PreTrainedModel, PreTrainedTokenizerFast


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a training is asked to do: all that stays the same from its first step to its last."""

    examples: tuple[Example, ...]  # canonical order, each with at least one trained token
    validation: tuple[Example, ...]
    options: TrainConfig
    seed: int
    total: int  # optimiser steps; where the budget is trained tokens, a guess
    folder: Path
    identity: dict[str, Any]  # what a checkpoint must agree with
    should_stop: Callable[[], bool]
    corpus: Corpus | None = None  # plain text beside the records
    row_tokens: int = 0  # > 0: several records in a row of so many tokens

    @property
    def per_epoch(self) -> int:
        """Optimiser steps in one pass over the records."""
        return steps_per_epoch(len(self.examples), self.options.batch_size)

    def chosen(self, step: int) -> list[Example]:
        """The records of an optimiser step, all processes together."""
        rows = records_of_step(step, len(self.examples), self.options.batch_size, self.seed)
        return [self.examples[row] for row in rows]

    def place(self, step: int, tokens: int) -> float:
        """Where a training after so many steps stands, in steps of `total`: by its trained tokens, if those end it."""
        budget = self.options.max_trained_tokens
        return self.total * tokens / budget if budget else step

    def is_over(self, step: int, tokens: int) -> bool:
        """Is the budget spent?"""
        return self.place(step, tokens) >= self.total

    def expected(self, step: int, tokens: int) -> int:
        """How many steps the training will have had, judging by those it has made."""
        budget = self.options.max_trained_tokens
        return max(step, math.ceil(step * budget / tokens)) if budget and tokens else self.total

    def validates_after(self, done: int, *, last: bool) -> bool:
        """Is the student validated once `done` steps are made? At the start, at the end, and every validate_every epochs."""
        if not self.validation or not self.options.validate_every:
            return False
        interval = self.options.validate_every * self.per_epoch
        return last or done == 0 or math.floor(done / interval) > math.floor((done - 1) / interval)


@dataclass(slots=True, kw_only=True)
class Loop:
    """A training in progress: the modules on their device, AdamW's moments, and where it stands."""

    plan: Plan
    accelerator: Accelerator
    wrapped: torch.nn.Module  # the objective, inside DDP where there are several processes
    objective: Objective
    teacher: PreTrainedModel | None
    tokenizer: PreTrainedTokenizerFast
    optimiser: torch.optim.Optimizer
    precision: Precision
    state: checkpoint.State
    journal: Journal | None  # of the main process
    writer: Writer | None = None  # of the texts, where they are not always the records' own
    rouge_l: Callable[[], float] | None = (
        None  # of the student's answers now, where validations are compared by it
    )

    @property
    def is_over(self) -> bool:
        """Is the budget spent?"""
        return self.plan.is_over(self.state.step, self.state.trained_tokens)

    @property
    def expected(self) -> int:
        """How many steps the training will have had."""
        return self.plan.expected(self.state.step, self.state.trained_tokens)

    def run(self) -> None:
        """Train to the end. Interrupted, after a checkpoint, once should_stop says so."""
        saved = time.monotonic()
        if self.state.step == 0 and self.plan.validates_after(0, last=self.is_over):
            self.validate()
        while not self.is_over:
            self.step()
            if self.plan.validates_after(self.state.step, last=self.is_over):
                self.validate()
            if self.is_over:
                break
            stop = agreed(self.accelerator, self.plan.should_stop())
            if stop or time.monotonic() - saved >= self.plan.options.checkpoint_every_s:
                self.checkpoint()
                saved = time.monotonic()
            if stop:
                self.accelerator.wait_for_everyone()  # the first has saved before the others say that they end
                raise Interrupted(
                    f"Training stopped after step {self.state.step} of {self.expected}, as asked.",
                    f"checkpoint: {self.plan.folder / 'checkpoints'}",
                    "Run the same command again: it continues from there.",
                )

    def step(self) -> None:
        """One optimiser step: its share of the records forward and backward, clipped, checked, applied, written down."""
        number, options = self.state.step, self.plan.options
        place = self.plan.place(number, self.state.trained_tokens)
        chosen = (
            self.plan.chosen(number) if self.writer is None else self.writer.texts(number, place)
        )
        tokens = sum(trained_tokens(example) for example in chosen)
        lr = lr_at(place, self.plan.total, options)
        set_lr(self.optimiser, lr)
        self.optimiser.zero_grad(set_to_none=True)
        totals = self.backward(chosen, number, tokens)
        self.precision.scaler.unscale_(self.optimiser)
        trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, options.clip_norm or math.inf)
        sums = summed(self.accelerator, torch.stack(list(totals.values()))).tolist()
        terms = {name: total / tokens for name, total in zip(totals, sums, strict=True)}
        loss, grad_norm = sum(terms.values()), float(norm)
        overflow = self.precision.name == "fp16" and not math.isfinite(grad_norm)
        if not math.isfinite(loss) or (not math.isfinite(grad_norm) and not overflow):
            raise self.not_finite(f"loss {loss}, gradient norm {grad_norm}", chosen)
        self.precision.scaler.step(self.optimiser)
        self.precision.scaler.update()
        self.state.step += 1
        self.state.trained_tokens += tokens
        if self.journal is not None:
            self.journal.total = self.expected
            entry = {
                "step": self.state.step,
                "epoch": round(self.state.step / self.plan.per_epoch, 4),
                "loss": loss,
            }
            entry |= {} if self.writer is None else {"texts": self.writer.source}
            size = {"lr": lr, "grad_norm": None if overflow else grad_norm, "tokens": tokens}
            self.journal.stepped({**entry, **terms, **size}, tokens)

    def backward(
        self, chosen: Sequence[Example], number: int, tokens: int
    ) -> dict[str, torch.Tensor]:
        """Gradients of this process's share of a step; the terms' sums, float64. DDP averages, hence the factor `ranks`."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        share = micro_batches(chosen, rank, ranks, self.plan.options.micro_batch_size)
        idle = not share  # fewer records than processes: this one still has to meet the others
        totals: dict[str, torch.Tensor] = {}
        rows = (
            partial(collate_packed, row_tokens=self.plan.row_tokens)
            if self.plan.row_tokens
            else collate
        )
        with self.noise(number):
            if self.plan.corpus is not None:
                totals["lm"] = self.backward_corpus(self.plan.corpus, number, tokens)
            for index, part in enumerate(share or [[chosen[0]]]):
                batch = rows(part, self.accelerator.device, trained=not idle)
                with self.synchronised(index >= len(share) - 1), self.precision.autocast():
                    terms: dict[str, torch.Tensor] = self.wrapped(batch, self.signal(batch), number)
                    total = torch.stack(list(terms.values())).sum()
                    self.precision.scaler.scale(total * (ranks / tokens)).backward()
                for name, value in terms.items():
                    value = value.detach().double()
                    totals[name] = totals[name] + value if name in totals else value
        return totals

    def backward_corpus(self, corpus: Corpus, number: int, tokens: int) -> torch.Tensor:
        """Gradients of this process's blocks of plain text; their weighted sum, float64. Never the last of a step."""
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        size, weight = self.plan.options.micro_batch_size, corpus.weight(tokens)
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        for part in corpus.micro_batches(number, self.plan.seed, rank, ranks, size):
            batch = collate(part, self.accelerator.device)
            with self.synchronised(False), self.precision.autocast():
                found: torch.Tensor = self.wrapped(batch, None, number, weight)["lm"]
                self.precision.scaler.scale(found * (ranks / tokens)).backward()
            total += found.detach().double()
        return total

    def synchronised(self, is_last: bool) -> AbstractContextManager[object]:
        """Gradients travel between processes once per step, with the last micro-batch."""
        return nullcontext() if is_last else self.accelerator.no_sync(self.wrapped)

    @contextmanager
    def noise(self, number: int) -> Iterator[None]:
        """Dropout noise of a step: derived from (seed, step, process), so that no generator has to be saved."""
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(
                derive(self.plan.seed, "step", number, self.accelerator.process_index)
            )
            yield

    @torch.no_grad()
    def signal(self, batch: Batch) -> Readout | None:
        """What the teacher says about the same positions; None where the method does not ask."""
        return None if self.teacher is None else read(self.teacher, batch)

    def not_finite(self, what: str, chosen: Sequence[Example]) -> ModelError:
        """The error that stops a training gone wrong; nothing has been saved since."""
        ids = ", ".join(example.record_id for example in chosen)
        return ModelError(
            f"Training went out of bounds at step {self.state.step + 1} of {self.expected} and was stopped.",
            f"{what}; lr {self.optimiser.param_groups[0]['lr']:.3g}; records of the step: {ids}",
            "Lower lr_peak, lengthen the warm-up, or look at these records; the last checkpoint is intact.",
        )

    def validate(self) -> None:
        """Validation loss in nats per token (and ROUGE-L, if asked for), over all processes; the best weights are kept."""
        plan, state, accelerator = self.plan, self.state, self.accelerator
        size = plan.options.micro_batch_size or plan.options.batch_size
        batches = validation_batches(plan.validation, size)[
            accelerator.process_index :: accelerator.num_processes
        ]
        sums = validation_sums(self.objective.student, batches, accelerator.device, self.precision)
        total, tokens = summed(accelerator, sums).tolist()
        loss = total / tokens
        if not math.isfinite(loss):
            raise self.not_finite(f"validation loss {loss}", plan.chosen(max(0, state.step - 1)))
        rouge_l = None if self.rouge_l is None else self.rouge_l()
        state.validation_loss, state.validation_rouge_l = loss, rouge_l
        if self.writer is not None:
            self.writer.validated(loss)
        epoch = round(state.step / plan.per_epoch, 4)
        if self.journal is not None:
            self.journal.validated(state.step, epoch, loss, rouge_l)
        name = f"epoch{epoch:g}_step{state.step}_loss{loss:.4f}" + (
            f"_rouge{rouge_l:.4f}" if rouge_l is not None else ""
        )
        found = checkpoint.Best(step=state.step, loss=loss, rouge_l=rouge_l, folder=name, files={})
        is_best = state.best is None or checkpoint.rank(found) < checkpoint.rank(state.best)
        if not (is_best or checkpoint.is_kept(state, found, plan.options.keep_checkpoints)):
            return
        folder = plan.folder / "checkpoints" / name
        if accelerator.is_main_process:
            self.save_student(folder)
            found = dataclasses.replace(found, files=checkpoint.hashes(folder))
        state.best = found if is_best else state.best
        state.kept = sorted([*state.kept, found], key=checkpoint.rank)[
            : plan.options.keep_checkpoints
        ]

    def save_student(self, folder: Path) -> None:
        """Write the student as a complete model folder."""
        with checkpoint.full_disk_is_an_oserror():
            save_model(self.objective.student, self.tokenizer, folder)

    def checkpoint(self) -> None:
        """Write all that a resume needs; the main process does, for all."""
        if self.journal is None:
            return
        self.journal.flush()
        self.state.train_s = self.journal.seconds()
        self.state.scaler = self.precision.scaler.state_dict()
        kept = None
        if self.writer is not None:
            self.state.rollout, kept = dataclasses.asdict(self.writer.state), self.writer.tensors()
        folder = self.plan.folder / "checkpoints"
        path = checkpoint.save(
            folder, self.state, self.objective, self.optimiser, self.plan.identity, kept
        )
        self.journal.say(f"checkpoint {path.name}")
