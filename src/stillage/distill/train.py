"""Train a student or a teacher, continuing exactly where an earlier try stopped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from stillage.distill import checkpoint
from stillage.distill.batches import fingerprint, total_steps
from stillage.distill.checks import checked_task
from stillage.distill.generation import GenerationContext, generation_context
from stillage.distill.journal import Journal, Report
from stillage.distill.loop import Loop
from stillage.distill.model_setup import prepare_models
from stillage.distill.monitor import Monitor
from stillage.distill.objective import Objective
from stillage.distill.optimiser import adamw
from stillage.distill.outputs import Summary, finished_training, summarised, write_outputs
from stillage.distill.step_texts import step_texts
from stillage.distill.task import TrainingTask
from stillage.distill.teacher_generation import teacher_texts
from stillage.distill.training_identity import training_identity
from stillage.distill.training_plan import Plan
from stillage.models.decoder import plain
from stillage.models.quiet import quiet
from stillage.run.folder import remove
from stillage.types import MixedRollout, StudentRollout, TeacherRollout


def train(
    task: TrainingTask,
    folder: Path,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    report: Report | None = None,
    monitor: Monitor | None = None,
) -> Summary:
    """Train the task's student, and write its model, tables and logs into the folder.

    folder/{model, best or last, provenance.parquet, summary.json, metrics.jsonl, train.log}; kept/
    has the models of the best keep_checkpoints validations. With an adapter (models.lora) only the
    adapter is trained, saved and resumed. A folder in which this very training ended gives its
    summary at once, and leaves the student as it is.

    Args:
        should_stop: asked after every step; once true, a checkpoint is written and Interrupted
            raised; the same call then continues, bit-identically on one device.
        report: gets a dict after each step (step, total, epoch, loss, each term, lr, grad_norm,
            tokens_per_s, eta_s), validation (step, total, epoch, validation_loss) and measurement
            of the monitor.
        monitor: numbers of the student to write down on the way; they decide nothing.

    Raises DataError, ModelError, ConfigError, CapabilityError for bad input, CheckpointError for a
    folder of another training, ModelError, with step and records, for a loss or gradient that is
    not a number; the last checkpoint is intact then.
    """
    ready = checked_task(task)
    identity = training_identity(ready)
    context = generation_context(ready)
    if (done := finished_training(folder, identity)) is not None:
        context.accelerator.wait_for_everyone()  # nobody removes what others still look at
        if context.accelerator.is_main_process:
            remove(folder / "checkpoints")
        return done
    row_tokens = prepare_models(ready)
    if isinstance(ready.rollout, TeacherRollout):
        texts = teacher_texts(context, ready, folder, should_stop, report, identity)
    else:
        texts = ready.examples
    total = total_steps(texts, ready.options)
    plan = Plan(
        task=ready,
        examples=tuple(texts),
        total=total,
        row_tokens=row_tokens,
        folder=folder,
        identity={**identity, "steps": total, "texts": fingerprint(texts)},
        should_stop=should_stop,
        monitor=monitor,
    )
    loop = started(plan, context, report)
    try:
        loop.run()
    finally:
        if loop.journal is not None:
            loop.journal.close()
    summary = summarised(loop, left_out=len(task.examples) - len(ready.examples))
    if context.accelerator.is_main_process:
        write_outputs(loop, summary, identity)
    context.accelerator.wait_for_everyone()
    if ready.options.gradient_checkpointing:
        with quiet():
            plain(ready.student).gradient_checkpointing_disable()
    ready.student.eval()
    return summary


def started(plan: Plan, context: GenerationContext, report: Report | None) -> Loop:
    """Put everything on its device, and restore the newest sound checkpoint."""
    accelerator, task = context.accelerator, plan.task
    objective = Objective(task.student, task.method, task.params)
    objective.train(not isinstance(task.rollout, MixedRollout))  # the student stays who wrote
    objective.to(accelerator.device)
    optimiser = adamw(objective.parameters(), plan.options)
    texts = step_texts(plan, context)
    with accelerator.main_process_first():
        path = checkpoint.newest_sound(plan.folder / "checkpoints")
    state, times = checkpoint.State(), Counter[str]()
    if path is not None:
        state, tensors = checkpoint.restore(path, objective, optimiser, plan.identity)
        context.precision.scaler.load_state_dict(state.scaler)
        texts.restore(state.rollout, tensors)
        counts = zip(plan.record_ids, tensors["times"].tolist(), strict=True)
        times.update({name: count for name, count in counts if count})
    return Loop(
        plan=plan,
        context=context,
        wrapped=accelerator.prepare_model(objective),
        objective=objective,
        optimiser=optimiser,
        state=state,
        texts=texts,
        times=times,
        journal=opened_journal(plan, state, report, context),
    )


def opened_journal(
    plan: Plan, state: checkpoint.State, report: Report | None, context: GenerationContext
) -> Journal | None:
    """The journal of the main process, with its first lines; None on the others."""
    if not context.accelerator.is_main_process:
        return None
    options, method, rollout = plan.options, plan.task.method, plan.task.rollout
    steps = plan.expected_steps(state.step, state.trained_tokens)
    journal = Journal(
        plan.folder, step=state.step, total=steps, train_s=state.train_s, report=report
    )
    what = f"continues after step {state.step} of" if state.step else "starts:"
    about = " about" if options.max_trained_tokens else ""
    journal.say(
        f"{method.name} {what}{about} {steps} steps, {len(plan.examples)} records, "
        f"batch {options.batch_size}, {options.precision} on {context.accelerator.num_processes} x "
        f"{context.accelerator.device.type}, seed {plan.task.seed}"
    )
    unseen = not plan.validates_after(0, last=plan.is_over(0, 0))
    if isinstance(rollout, StudentRollout) and rollout.validated and unseen and state.step == 0:
        journal.warn(
            f"{method.name}: no validation will raise the share of the student's own texts, so it "
            f"stays at {rollout.start.threshold:g} (validation records: "
            f"{len(plan.task.validation)}, validate_every: {options.validate_every:g})"
        )
    return journal
