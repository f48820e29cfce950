"""The loop: optimiser steps, validations and checkpoints, resumable at any step.

Per step: loss = sum of the method's token sums / trained tokens of the whole step, over
micro-batches and processes. What a step does is a function of the weights, the moments and (seed,
step) alone, so a resumed training repeats it bit for bit.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import torch

from stillage.corpus.lm_text import PlainTextLoss
from stillage.distill import checkpoint
from stillage.distill.batches import micro_batches, trained_tokens
from stillage.distill.generation import GenerationContext
from stillage.distill.journal import Journal
from stillage.distill.objective import Objective
from stillage.distill.optimiser import lr_at
from stillage.distill.precision import Precision
from stillage.distill.step_texts import StepTexts
from stillage.distill.training_plan import Plan
from stillage.distill.validation import validation_loss, validation_rouge_l
from stillage.errors import Interrupted, ModelError
from stillage.models.decoder import evaluating, read
from stillage.models.load import save_model
from stillage.models.padding import collate, collate_packed
from stillage.rng import derive
from stillage.types import Batch, Example, Readout

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(slots=True, kw_only=True)
class Loop:
    """A training in progress."""

    plan: Plan
    context: GenerationContext
    wrapped: torch.nn.Module  # the objective, inside DDP where there are several processes
    objective: Objective
    optimiser: torch.optim.Optimizer
    state: checkpoint.State
    texts: StepTexts
    times: Counter[str]  # how often each record was trained, with whatever text, by id
    journal: Journal | None  # of the main process

    @property
    def accelerator(self) -> Accelerator:
        """The processes."""
        return self.context.accelerator

    @property
    def precision(self) -> Precision:
        """The compute type."""
        return self.context.precision

    @property
    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.plan.is_over(self.state.step, self.state.trained_tokens)

    @property
    def expected_steps(self) -> int:
        """Steps that the training will have had."""
        return self.plan.expected_steps(self.state.step, self.state.trained_tokens)

    def run(self) -> None:
        """Train to the end, or raise Interrupted, after a checkpoint, if asked to."""
        saved = time.monotonic()
        if self.state.step == 0 and self.plan.validates_after(0, last=self.is_over):
            self.validate()
        if self.state.step == 0:
            self.monitor()
        while not self.is_over:
            self.step()
            if self.plan.validates_after(self.state.step, last=self.is_over):
                self.validate()
            self.monitor()
            if self.is_over:
                break
            stop = self.context.agreed(self.plan.should_stop())
            if stop or time.monotonic() - saved >= self.plan.options.checkpoint_every_s:
                self.checkpoint()
                saved = time.monotonic()
            if stop:
                self.accelerator.wait_for_everyone()  # the first has saved before the others end
                raise Interrupted(
                    f"Training stopped after step {self.state.step} of {self.expected_steps}, "
                    "as asked.",
                    f"checkpoint: {self.plan.folder / 'checkpoints'}",
                    "Run the same command again: it continues from there.",
                )

    def step(self) -> None:
        """Make one optimiser step, and write it down."""
        number, options = self.state.step, self.plan.options
        progress = self.plan.progress(number, self.state.trained_tokens)
        examples = self.texts.at(number, progress)
        tokens = sum(trained_tokens(example) for example in examples)
        lr = lr_at(progress, self.plan.total, options)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        totals = self.backward(examples, number, tokens)
        self.precision.scaler.unscale_(self.optimiser)
        trained = [weight for weight in self.objective.parameters() if weight.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, options.clip_norm or math.inf)
        sums = self.context.summed(torch.stack(list(totals.values()))).tolist()
        terms = {name: total / tokens for name, total in zip(totals, sums, strict=True)}
        loss, grad_norm = sum(terms.values()), float(norm)
        overflow = self.precision.name == "fp16" and not math.isfinite(grad_norm)
        if not math.isfinite(loss) or (not math.isfinite(grad_norm) and not overflow):
            raise self.not_finite(f"loss {loss}, gradient norm {grad_norm}", examples)
        self.precision.scaler.step(self.optimiser)
        self.precision.scaler.update()
        self.state.step += 1
        self.state.trained_tokens += tokens
        self.times.update(example.record_id for example in examples)
        if self.journal is not None:
            self.journal.total = self.expected_steps
            epoch = round(self.state.step / self.plan.per_epoch, 4)
            source = {"texts": self.texts.source} if self.texts.source else {}
            size = {"lr": lr, "grad_norm": None if overflow else grad_norm, "tokens": tokens}
            entry = {"step": self.state.step, "epoch": epoch, "loss": loss, **source}
            self.journal.stepped({**entry, **terms, **size}, tokens)

    def backward(
        self, examples: Sequence[Example], number: int, tokens: int
    ) -> dict[str, torch.Tensor]:
        """Add the gradients of this process's share; return the terms' sums, float64."""
        # DDP averages over processes, hence the factor `ranks`
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        share = micro_batches(examples, rank, ranks, self.plan.options.micro_batch_size)
        idle = not share  # fewer records than processes: this one still has to meet the others
        totals: dict[str, torch.Tensor] = {}
        corpus, row_tokens = self.plan.task.corpus, self.plan.row_tokens
        rows = partial(collate_packed, row_tokens=row_tokens) if row_tokens else collate
        with self.noise(number):
            if corpus is not None:
                totals["lm"] = self.backward_corpus(corpus, number, tokens)
            for index, part in enumerate(share or [[examples[0]]]):
                batch = rows(part, self.accelerator.device, trained=not idle)
                with self.synchronised(index >= len(share) - 1), self.precision.autocast():
                    terms: dict[str, torch.Tensor] = self.wrapped(batch, self.signal(batch), number)
                    total = torch.stack(list(terms.values())).sum()
                    self.precision.scaler.scale(total * (ranks / tokens)).backward()
                for name, value in terms.items():
                    value = value.detach().double()
                    totals[name] = totals[name] + value if name in totals else value
        return totals

    def backward_corpus(self, corpus: PlainTextLoss, number: int, tokens: int) -> torch.Tensor:
        """Add the gradients of this process's blocks of plain text; return their sum.

        The sum is weighted and float64; never the last backward pass of a step.
        """
        ranks, rank = self.accelerator.num_processes, self.accelerator.process_index
        size, weight = self.plan.options.micro_batch_size, corpus.weight(tokens)
        total = torch.zeros((), dtype=torch.float64, device=self.accelerator.device)
        blocks = corpus.blocks_of_step(number, self.plan.task.seed)
        for part in micro_batches(blocks, rank, ranks, size):
            batch = collate(part, self.accelerator.device)
            with self.synchronised(False), self.precision.autocast():
                lm: torch.Tensor = self.wrapped(batch, None, number, weight)["lm"]
                self.precision.scaler.scale(lm * (ranks / tokens)).backward()
            total += lm.detach().double()
        return total

    def synchronised(self, is_last: bool) -> AbstractContextManager[object]:
        """Let gradients travel between processes with the last micro-batch alone."""
        return nullcontext() if is_last else self.accelerator.no_sync(self.wrapped)

    @contextmanager
    def noise(self, number: int) -> Iterator[None]:
        """Derive dropout noise from (seed, step, process): nothing has to be saved."""
        device = self.accelerator.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            rank = self.accelerator.process_index
            torch.manual_seed(derive(self.plan.task.seed, "step", number, rank))
            yield

    @torch.no_grad()
    def signal(self, batch: Batch) -> Readout | None:
        """What the teacher says about the same positions; None if it is not asked."""
        teacher = self.plan.task.target_teacher
        return None if teacher is None else read(teacher, batch)

    def not_finite(self, what: str, examples: Sequence[Example]) -> ModelError:
        """The error that stops a training gone wrong; nothing has been saved since."""
        ids = ", ".join(example.record_id for example in examples)
        return ModelError(
            f"Training went out of bounds at step {self.state.step + 1} of {self.expected_steps} "
            "and was stopped.",
            f"{what}; lr {self.optimiser.param_groups[0]['lr']:.3g}; records of the step: {ids}",
            "Lower lr_peak, lengthen the warm-up, or look at these records; the last checkpoint is "
            "intact.",
        )

    def validate(self) -> None:
        """Validate, over all processes, and keep the best weights."""
        plan, state = self.plan, self.state
        student, records = self.objective.student, plan.task.validation
        size = plan.options.micro_batch_size or plan.options.batch_size
        loss = validation_loss(self.context, student, records, size)
        if not math.isfinite(loss):
            examples = plan.step_examples(max(0, state.step - 1))
            raise self.not_finite(f"validation loss {loss}", examples)
        rouge_l = None
        if plan.options.keep_by == "rouge_l":
            prompts = records[: plan.options.keep_prompts]
            rouge_l = validation_rouge_l(self.context, student, plan.task.tokenizer, prompts)
        state.validation_loss, state.validation_rouge_l = loss, rouge_l
        self.texts.validated(loss)
        epoch = round(state.step / plan.per_epoch, 4)
        if self.journal is not None:
            self.journal.validated(state.step, epoch, loss, rouge_l)
        rouge = "" if rouge_l is None else f"_rouge{rouge_l:.4f}"
        step = state.step
        name = f"epoch{epoch:g}_step{step}_loss{loss:.4f}{rouge}"
        self.keep(checkpoint.Best(step=step, loss=loss, rouge_l=rouge_l, folder=name, files={}))

    @torch.no_grad()
    def monitor(self) -> None:
        """Write down what the monitor measures, if it is time to; nothing else changes."""
        monitor, step, student = self.plan.monitor, self.state.step, self.objective.student
        if self.journal is None or monitor is None or not monitor.is_due(step, last=self.is_over):
            return
        with evaluating(student):
            numbers = monitor.measure(student)
        self.journal.monitored(step, round(step / self.plan.per_epoch, 4), numbers)

    def keep(self, weights: checkpoint.Best) -> None:
        """Save the weights of a validation if they are among those to keep."""
        state, most = self.state, self.plan.options.keep_checkpoints
        is_best = state.best is None or checkpoint.rank(weights) < checkpoint.rank(state.best)
        if not (is_best or checkpoint.is_kept(state, weights, most)):
            return
        if self.accelerator.is_main_process:
            folder = self.plan.folder / "checkpoints" / weights.folder
            save_model(self.objective.student, self.plan.task.tokenizer, folder)
            weights = dataclasses.replace(weights, files=checkpoint.hashes(folder))
        state.best = weights if is_best else state.best
        state.kept = sorted([*state.kept, weights], key=checkpoint.rank)[:most]

    def checkpoint(self) -> None:
        """Write all that a resume needs; the main process does, for all."""
        if self.journal is None:
            return
        self.journal.flush()
        self.state.train_s = self.journal.seconds()
        self.state.scaler = self.precision.scaler.state_dict()
        self.state.rollout, texts = self.texts.saved()
        times = torch.tensor([self.times[name] for name in self.plan.record_ids], dtype=torch.int32)
        path = checkpoint.save(
            self.plan.folder / "checkpoints",
            self.state,
            self.objective,
            self.optimiser,
            self.plan.identity,
            {**texts, "times": times},
        )
        self.journal.say(f"checkpoint {path.name}")
