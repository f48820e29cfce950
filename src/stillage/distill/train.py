"""Training a student or a teacher: from checked inputs to a model folder, continuing exactly where an earlier try stopped."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from stillage.data.tokenise import end_id
from stillage.distill import checkpoint
from stillage.distill.answer import Desk
from stillage.distill.answers_once import answers_once
from stillage.distill.batches import canonical, fingerprint, total_steps, trained_tokens
from stillage.distill.checks import check
from stillage.distill.corpus import Corpus, check_corpus
from stillage.distill.identity import identity_of, refuse_finished
from stillage.distill.journal import Journal, Report
from stillage.distill.loop import Loop, Plan
from stillage.distill.objective import Objective
from stillage.distill.optimiser import adamw
from stillage.distill.overlap import validation_rouge_l
from stillage.distill.precision import precision_of
from stillage.distill.prepare import keep_activations, prepare
from stillage.distill.rollouts import follows_validation
from stillage.distill.writer import Writer
from stillage.models.decoder import embedding_rows
from stillage.models.pair import context_of
from stillage.run.config import TrainConfig
from stillage.run.folder import atomic, read_json, remove, write_json, write_table
from stillage.types import Example, Method, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

log = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a training did. All but the timings is a function of its inputs."""

    method: str
    steps: int
    epochs: float
    records: int  # different examples that were trained on, at least once
    left_out: int  # examples without a trained token
    trained_tokens: int
    validation_loss: float | None  # of the last weights, nats per token
    best_validation_loss: float | None  # of the best weights
    best_step: int | None
    best_rouge_l: float | None  # of those weights, where validations were compared by it
    model_step: int  # after how many steps the weights in model/ were taken
    timings: dict[str, float] = field(default_factory=dict)  # train_s, tokens_per_s


def never() -> bool:
    """Nobody asks to stop."""
    return False


def train(
    *,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    teacher: PreTrainedModel | None = None,
    method: Method,
    params: object,
    examples: Sequence[Example],
    validation: Sequence[Example],
    options: TrainConfig,
    folder: Path,
    seed: int,
    should_stop: Callable[[], bool] = never,
    report: Report | None = None,
    corpus: Corpus | None = None,
) -> Summary:
    """Train `student` and write folder/{model, best or last, provenance.parquet, summary.json, metrics.jsonl, train.log}.

    With an adapter (models.lora) only the adapter is trained, saved and resumed. corpus: plain text whose loss is added.
    keep_checkpoints: the best so many validations' models go to folder/kept/.
    params: an instance of method.params. examples, validation: tokenised records, in any order. should_stop is asked after
    every step: once true, a checkpoint is written and Interrupted raised; the same call then continues, bit-identically on
    one device. report gets a dict after each step: step, total, epoch, loss, each term, lr, grad_norm, tokens_per_s, eta_s;
    and after each validation: step, total, epoch, validation_loss.
    Raises DataError, ModelError, ConfigError, CapabilityError (bad inputs), CheckpointError (a checkpoint of other settings),
    ModelError (a loss or gradient that is not a number: step and record ids are named, the last checkpoint is intact).
    A folder in which this very training ended gives its summary at once, and leaves `student` as it is; one in which another
    ended (other weights to start from, teacher, tokenizer, data, settings: `identity`) raises CheckpointError.
    """
    teacher = teacher if method.needs_teacher(params) else None
    rollout = None if method.rollout is None else method.rollout(params)
    options = (
        options if method.budget is None else dataclasses.replace(options, **method.budget(params))
    )
    trained = [example for example in examples if trained_tokens(example)]
    check(student, teacher, method, params, trained, validation, options)
    if len(trained) < len(examples):
        log.warning(
            "%d of %d examples have no token to train and are left out.",
            len(examples) - len(trained),
            len(examples),
        )
    if corpus is not None:
        check_corpus(corpus, student)
    identity = identity_of(
        student=student,
        tokenizer=tokenizer,
        teacher=teacher,
        method=method,
        params=params,
        rollout=rollout,
        examples=trained,
        validation=[example for example in validation if trained_tokens(example)],
        options=options,
        seed=seed,
        corpus=corpus,
    )
    desk = desk_of(tokenizer, student, teacher, options, seed)
    if (done := finished(folder, identity)) is not None:
        desk.accelerator.wait_for_everyone()  # nobody removes what the others still look at
        if desk.accelerator.is_main_process:
            remove(folder / "checkpoints")
        return done
    row_tokens = prepare(student, teacher, options, trained)
    if options.gradient_checkpointing and rollout is not None and not rollout.dropout:
        log.warning(
            "gradient checkpointing has no effect: %s trains the student in eval mode", method.name
        )
    if rollout is not None and rollout.writes_once:
        assert teacher is not None
        trained = answers_once(
            desk, teacher, tokenizer, trained, rollout, folder, should_stop, report, about=identity
        )
        teacher, rollout = None if rollout.teacher_is_done else teacher, None
    plan = plan_of(identity, trained, validation, options, folder, seed, should_stop)
    plan = dataclasses.replace(plan, corpus=corpus, row_tokens=row_tokens)
    loop = start(plan, student, tokenizer, teacher, method, params, report, desk, rollout)
    summary = completed(loop, method, identity, left_out=len(examples) - len(trained))
    if options.gradient_checkpointing:
        keep_activations(student)
    student.eval()
    return summary


def completed(loop: Loop, method: Method, identity: dict[str, Any], *, left_out: int) -> Summary:
    """Run the loop to its end, and write what it made."""
    try:
        loop.run()
    finally:
        if loop.journal is not None:
            loop.journal.close()
    summary = summary_of(loop, method, left_out=left_out)
    if loop.accelerator.is_main_process:
        write_outputs(loop, summary, identity)
    loop.accelerator.wait_for_everyone()
    return summary


def desk_of(
    tokenizer: PreTrainedTokenizerFast,
    student: PreTrainedModel,
    teacher: PreTrainedModel | None,
    options: TrainConfig,
    seed: int,
) -> Desk:
    """Where texts are written and everything is computed; the teacher is put there."""
    from accelerate import Accelerator

    # Mixed precision is ours (distill.precision): accelerate fixes one per process. It joins CPU processes only if told so.
    accelerator = Accelerator(mixed_precision="no", cpu=not torch.accelerator.is_available())
    if (
        teacher is not None and teacher.device != accelerator.device
    ):  # quantised weights stay where they were loaded
        teacher.to(accelerator.device)  # pyright: ignore[reportArgumentType]
    if teacher is not None:
        teacher.eval()
    eos, pad = end_id(tokenizer), tokenizer.pad_token_id
    precision = precision_of(options.precision, accelerator.device)
    pad = pad if isinstance(pad, int) else eos  # masked, never read
    models = [model for model in (student, teacher) if model is not None]
    contexts = [context_of(model) for model in models]
    return Desk(
        accelerator=accelerator,
        precision=precision,
        eos_id=eos,
        pad_id=pad,
        seed=seed,
        most_tokens=min((tokens for tokens in contexts if tokens is not None), default=None),
        known_ids=min(map(embedding_rows, models)),
    )


def plan_of(
    identity: dict[str, Any],
    examples: Sequence[Example],
    validation: Sequence[Example],
    options: TrainConfig,
    folder: Path,
    seed: int,
    should_stop: Callable[[], bool],
) -> Plan:
    """The plan, with the identity that every checkpoint of it carries."""
    ordered = canonical(examples)
    total = total_steps(ordered, options)
    return Plan(
        examples=ordered,
        validation=canonical([example for example in validation if trained_tokens(example)]),
        options=options,
        seed=seed,
        total=total,
        folder=folder,
        identity={**identity, "steps": total, "texts": fingerprint(ordered)},
        should_stop=should_stop,
    )


def start(
    plan: Plan,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    teacher: PreTrainedModel | None,
    method: Method,
    params: object,
    report: Report | None,
    desk: Desk,
    rollout: Rollout | None,
) -> Loop:
    """Everything on its device, and the newest sound checkpoint restored."""
    accelerator, precision = desk.accelerator, desk.precision
    objective = Objective(student, method, params)
    objective.train(rollout is None or rollout.dropout)
    objective.to(accelerator.device)
    optimiser = adamw(objective.parameters(), plan.options)
    writer = None if rollout is None else Writer(rollout, plan, desk, student, teacher)
    asked = (
        plan.validation[: plan.options.keep_prompts] if plan.options.keep_by == "rouge_l" else ()
    )
    judge = partial(validation_rouge_l, desk, student, tokenizer, asked) if asked else None
    with accelerator.main_process_first():
        path = checkpoint.newest(plan.folder / "checkpoints")
    state = checkpoint.State()
    if path is not None:
        state = checkpoint.restore(path, objective, optimiser, plan.identity)
        precision.scaler.load_state_dict(state.scaler)
        if writer is not None:
            writer.restore(state.rollout, checkpoint.kept_texts(path))
    journal = None
    if accelerator.is_main_process:
        total = plan.expected(state.step, state.trained_tokens)
        journal = Journal(
            plan.folder, step=state.step, total=total, train_s=state.train_s, report=report
        )
        journal.say(opening(plan, method, state, accelerator.num_processes, accelerator.device))
        unseen = not plan.validates_after(0, last=plan.is_over(0, 0))
        if state.step == 0 and rollout is not None and follows_validation(rollout) and unseen:
            journal.warn(
                f"{method.name}: no validation will raise the share of the student's own texts, so it stays at "
                f"{rollout.start.threshold:g} (validation records: {len(plan.validation)}, "
                f"validate_every: {plan.options.validate_every:g})"
            )
    return Loop(
        plan=plan,
        accelerator=accelerator,
        wrapped=accelerator.prepare_model(objective),
        objective=objective,
        teacher=teacher,
        tokenizer=tokenizer,
        optimiser=optimiser,
        precision=precision,
        state=state,
        journal=journal,
        writer=writer,
        rouge_l=judge,
    )


def opening(
    plan: Plan, method: Method, state: checkpoint.State, processes: int, device: torch.device
) -> str:
    """The first line of an attempt in train.log."""
    what = f"continues after step {state.step} of" if state.step else "starts:"
    what += " about" if plan.options.max_trained_tokens else ""
    steps = plan.expected(state.step, state.trained_tokens)
    return (
        f"{method.name} {what} {steps} steps, {len(plan.examples)} records, batch {plan.options.batch_size}, "
        f"{plan.options.precision} on {processes} x {device.type}, seed {plan.seed}"
    )


def summary_of(loop: Loop, method: Method, *, left_out: int) -> Summary:
    """What the training did."""
    plan, state = loop.plan, loop.state
    seconds = loop.journal.seconds() if loop.journal is not None else 0.0
    best = state.best if plan.options.keep == "best" else None
    return Summary(
        method=method.name,
        steps=state.step,
        epochs=round(state.step / plan.per_epoch, 4),
        records=len(times_trained(loop)),
        left_out=left_out,
        trained_tokens=state.trained_tokens,
        validation_loss=state.validation_loss,
        best_validation_loss=state.best.loss if state.best else None,
        best_step=state.best.step if state.best else None,
        best_rouge_l=state.best.rouge_l if state.best else None,
        model_step=best.step if best else state.step,
        timings={
            "train_s": round(seconds, 3),
            "tokens_per_s": round(state.trained_tokens / max(seconds, 1e-9), 1),
        },
    )


def times_trained(loop: Loop) -> Counter[str]:
    """How often each record id reached the training, with its own response or with one that a model wrote."""
    plan = loop.plan
    if loop.writer is not None:
        return loop.writer.times()
    epochs, rest = divmod(loop.state.step, plan.per_epoch)
    times: Counter[str] = Counter()
    if epochs:
        for example in plan.examples:
            times[example.record_id] += epochs
    for step in range(epochs * plan.per_epoch, epochs * plan.per_epoch + rest):
        times.update(example.record_id for example in plan.chosen(step))
    return times


def write_outputs(loop: Loop, summary: Summary, identity: dict[str, Any]) -> None:
    """The model first, the checkpoints removed last: a kill in between costs only the steps since the last checkpoint."""
    import pyarrow as pa

    folder, best = loop.plan.folder, loop.state.best
    checkpoints = folder / "checkpoints"
    keeps_best = summary.model_step != summary.steps
    loop.save_student(folder / ("last" if keeps_best else "model"))
    if best is not None and best.step != summary.steps:
        with atomic(folder / ("model" if keeps_best else "best")) as temporary:
            shutil.copytree(checkpoints / best.folder, temporary)
    for kept in loop.state.kept:
        with atomic(folder / "kept" / kept.folder) as temporary:
            shutil.copytree(checkpoints / kept.folder, temporary)
    times = sorted(times_trained(loop).items())
    columns = {
        "id": [name for name, _ in times],
        "times": pa.array([count for _, count in times], pa.int32()),
    }
    write_table(
        folder / "provenance.parquet",
        pa.table(columns, schema=pa.schema([("id", pa.string()), ("times", pa.int32())])),
    )
    write_json(folder / "summary.json", {**dataclasses.asdict(summary), "identity": identity})
    remove(checkpoints)


def finished(folder: Path, identity: dict[str, Any]) -> Summary | None:
    """The summary of this very training, if it has ended here before (a kill just after it is not paid for twice).

    CheckpointError where another training has ended here.
    """
    path = folder / "summary.json"
    if not path.is_file() or not (folder / "model").is_dir():
        return None
    content = read_json(path)
    refuse_finished(folder, content.pop("identity", None), identity)
    return Summary(**content)
