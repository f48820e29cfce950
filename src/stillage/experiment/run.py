"""Run an experiment: check the folder is ours, do what is not done yet, say why for each stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from stillage.errors import ConfigError, UserError
from stillage.experiment.parallel import command_of, ready, run_together
from stillage.experiment.plan import BESIDE, Context, plan
from stillage.run.config import Config
from stillage.run.environment import environment
from stillage.run.folder import full_disk_interrupts, read_json, remove, write_json, write_text
from stillage.run.lock import locked
from stillage.run.parse import build, difference, from_yaml, to_yaml
from stillage.run.stages import MANIFEST, NOT_DONE, Stage, Status, keys, link, place, run_stage, status

LOG = logging.getLogger("stillage")
Say = Callable[[str], None]


def earlier_config(run: Path) -> Config | None:
    """The config that the run folder was made with; None for a new folder."""
    path = run / "config.yaml"
    return build(from_yaml(path.read_text(encoding="utf-8"), str(path))) if path.is_file() else None


def check_folder(config: Config, accept_changes: bool) -> None:
    """Refuse a folder that holds a run with other settings, and show the difference.

    Raises ConfigError for that, and for a folder that has files but no run in it.
    """
    before = earlier_config(config.out)
    if before is None:
        strange = [path.name for path in config.out.iterdir() if path.name != ".lock"] if config.out.is_dir() else []
        if strange:
            raise ConfigError(
                f"The folder {config.out} has files, but no run of ours.",
                f"found: {', '.join(sorted(strange)[:5])}",
                "Choose another folder with --out.",
            )
        return
    changes = difference(before, config)
    if changes and not accept_changes and has_work(config.out):
        raise ConfigError(
            f"The folder {config.out} holds a run with other settings.",
            "; ".join(changes[:8]) + (f"; and {len(changes) - 8} more" if len(changes) > 8 else ""),
            "Give --accept-changes to redo what depends on them (finished stages are set aside), or another --out.",
        )


def has_work(run: Path) -> bool:
    """Does the folder hold what took a model: something trained, evaluated or audited, or a training to be continued?"""
    finished = {path.parent.name for path in run.glob(f"*/{MANIFEST}")} - {"data", "tokenizer"}
    return bool(finished) or any(run.glob("*/checkpoints/*"))


def say_done_over(config: Config) -> None:
    """A notice where a folder in which no model was trained is used for other settings."""
    before = earlier_config(config.out)
    changes = difference(before, config) if before is not None and not has_work(config.out) else []
    if changes:
        LOG.warning(
            "%s held no model yet, and is done over with other settings: %s", config.out, "; ".join(changes[:8])
        )


def statuses(context: Context, stages: Sequence[Stage]) -> list[Status]:
    """For each stage: done or not, and why. A stage whose input has to run has to run too, unless its key is done."""
    found = keys(stages)
    return [status_of(context, stage, found[stage.name]) for stage in stages]


def describe_plan(context: Context, stages: Sequence[Stage], until: str = "") -> list[str]:
    """One line per stage for --dry-run: skip or run, and why; `until` names the last stage to do, as in run_experiment.

    Nothing is written and no model is loaded. ConfigError for a folder that has files but no run in it; a run with other
    settings is described.
    """
    check_folder(context.config, accept_changes=True)
    return [
        f"{'skip' if state.is_done else 'run '}  {state.name:<24} {state.reason}"
        for state in statuses(context, needed_for(stages, until) if until else stages)
    ]


def run_experiment(context: Context, say: Say, *, accept_changes: bool = False, until: str = "") -> list[Stage]:
    """Do every stage that is not done; `until` names the last stage to do. Returns the stages of the plan.

    Raises Stopped (by a signal), Interrupted (disk full), UserError; the folder can always be continued.
    """
    return run_experiments({"": context}, say, accept_changes=accept_changes, until=until)[""]


def run_experiments(
    contexts: Mapping[str, Context], say: Say, *, accept_changes: bool = False, until: str = ""
) -> dict[str, list[Stage]]:
    """Several runs that share a store as one: name -> context in, name -> stages out. Errors as run_experiment.

    Every stage that several of them need is done once, and stages of different runs side by side as `jobs` allows.
    """
    plans: dict[str, tuple[Context, list[Stage]]] = {}
    for name, context in contexts.items():
        stages = plan(context)
        plans[name] = context, needed_for(stages, until) if until else stages
        check_folder(context.config, accept_changes)  # before the lock, which makes the folder
    with ExitStack() as held:
        new = []
        for context in contexts.values():
            out = context.config.out
            held.enter_context(full_disk_interrupts(out))
            held.enter_context(locked(out))
            new += [] if (out / "config.yaml").exists() else [out]
        try:
            for context in contexts.values():
                check_folder(context.config, accept_changes)
                say_done_over(context.config)
                write_text(context.config.out / "config.yaml", to_yaml(context.config))
                record_environment(context)
            do_stages(plans, say)
        except UserError:
            for out in new:
                leave_nothing(out)
            raise
    return {name: stages for name, (_, stages) in plans.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One stage, of the first run that needs it."""

    context: Context
    stage: Stage
    key: str
    reason: str


def do_stages(plans: Mapping[str, tuple[Context, Sequence[Stage]]], say: Say) -> None:
    """Do what is not done, saying of each stage what happens and why; side by side where the configs allow."""
    tasks: dict[str, Task] = {}  # by label, in order
    labels: dict[Path, str] = {}  # where a stage lies -> its label
    waiting: list[Stage] = []  # under their labels
    done: set[str] = set()
    for run, (context, stages) in plans.items():
        found = keys(stages)
        folders = {stage.name: place(context.run, stage, found[stage.name], context.store) for stage in stages}
        for stage in stages:
            folder = folders[stage.name]
            link(context.run, stage, folder)
            if folder in labels:
                continue
            label = labels[folder] = f"{run}: {stage.name}" if run else stage.name
            state = status(folder, stage, found[stage.name])
            tasks[label] = Task(context=context, stage=stage, key=found[stage.name], reason=state.reason)
            if state.is_done:
                done.add(label)
                continue
            waiting.append(replace(stage, name=label, inputs=tuple(labels[folders[name]] for name in stage.inputs)))
    number = {label: f"[{position}/{len(tasks)}] {label}" for position, label in enumerate(tasks, 1)}

    for label in (label for label in tasks if label in done):
        say(f"{number[label]}: skipped, {tasks[label].reason}")

    def tell(label: str, seconds: float | None) -> None:
        starts = "starts" if tasks[label].reason == NOT_DONE else tasks[label].reason
        say(f"{number[label]}: {starts if seconds is None else f'done in {seconds:.1f} s'}")

    def command(label: str) -> list[str]:
        task = tasks[label]
        plugins = [plugin.path for plugin in task.context.plugins]
        return command_of(task.context.run, task.context.store, plugins, task.stage.name)

    while waiting:
        first = ready(waiting, done)[0]
        task = tasks[first.name]
        if task.context.config.jobs > 1 and task.context.team is None and len(ready(waiting, done)) > 1:
            with task.context.stop.deferred():
                run_together(
                    waiting, done, command, task.context.config.jobs, task.context.stop, task.context.progress, tell
                )
            continue
        waiting.remove(first)
        tell(first.name, None)
        tell(first.name, do_stage(task.context, task.stage, task.key))
        done.add(first.name)


def status_of(context: Context, stage: Stage, key: str) -> Status:
    """Has the stage been done?"""
    return status(place(context.run, stage, key, context.store), stage, key)


def do_stage(context: Context, stage: Stage, key: str) -> float:
    """Do one stage in this process, unless another did it meanwhile; returns the seconds it took."""
    started = time.monotonic()
    folder = place(context.run, stage, key, context.store)
    with locked((context.store or context.run) / ".locks" / folder.name, wait=True):
        if not status(folder, stage, key).is_done:
            run_stage(folder, stage, key)
    return time.monotonic() - started


def do_only(context: Context, name: str) -> None:
    """Do one stage of a run that another process owns: the child's side of `parallel.run_together`."""
    stages = plan(context)
    found = keys(stages)
    stage = next(stage for stage in stages if stage.name == name)
    with full_disk_interrupts(context.run):
        do_stage(context, stage, found[name])


def leave_nothing(run: Path) -> None:
    """Remove a new run folder in which no stage left anything: an error of the user's must not leave half a run behind."""
    remove(run / ".locks")
    if any(path.is_dir() for path in run.iterdir()):
        return
    for name in ("config.yaml", "env.json", ".lock"):
        (run / name).unlink(missing_ok=True)
    if not any(run.iterdir()):
        run.rmdir()


def needed_for(stages: Sequence[Stage], until: str) -> list[Stage]:
    """The stage named with those that belong to it, and all before that they need. ConfigError where there is none."""
    by_name = {stage.name: stage for stage in stages}
    if until not in by_name:
        raise ConfigError(
            f"This config has no stage {until!r}.", f"its stages: {', '.join(by_name)}", "Add it to `stages`."
        )
    wanted: set[str] = set()
    open_names = [until, *(name for name in BESIDE.get(until, ()) if name in by_name)]
    while open_names:
        name = open_names.pop()
        if name not in wanted:
            wanted.add(name)
            open_names += by_name[name].inputs
    return [stage for stage in stages if stage.name in wanted]


def record_environment(context: Context) -> None:
    """Write env.json, plugins and processes included; versions that changed since the run began are said aloud."""
    now, path = environment(), context.run / "env.json"
    if path.is_file():
        before = read_json(path)
        changed = [name for name, value in now["packages"].items() if before["packages"].get(name) != value]  # pyright: ignore
        if changed:
            LOG.warning("other package versions than when the run began: %s", ", ".join(changed))
    added = [{"path": str(plugin.path), "sha256": plugin.sha256, "adds": plugin.names} for plugin in context.plugins]
    processes = 1 if context.team is None else context.team.size
    write_json(path, {**now, "plugins": added, "processes": processes})
