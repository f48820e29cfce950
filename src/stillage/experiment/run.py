"""Run an experiment: check the folder is ours, do what is not done yet, say why for each stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from stillage.errors import ConfigError, UserError
from stillage.experiment.parallel import command_of, ready, run_together
from stillage.experiment.plan import Context, plan
from stillage.run.config import Config
from stillage.run.environment import environment
from stillage.run.folder import full_disk_interrupts, read_json, remove, write_json, write_text
from stillage.run.lock import locked
from stillage.run.parse import build, difference, from_yaml, to_yaml
from stillage.run.stages import Stage, Status, keys, link, place, run_stage, status

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
    if changes and not accept_changes:
        raise ConfigError(
            f"The folder {config.out} holds a run with other settings.",
            "; ".join(changes[:8]) + (f"; and {len(changes) - 8} more" if len(changes) > 8 else ""),
            "Give --accept-changes to redo what depends on them (finished stages are set aside), or another --out.",
        )


def statuses(context: Context, stages: Sequence[Stage]) -> list[Status]:
    """For each stage: done or not, and why. A stage whose input has to run has to run too, unless its key is done."""
    found = keys(stages)
    return [status_of(context, stage, found[stage.name]) for stage in stages]


def describe_plan(context: Context, stages: Sequence[Stage]) -> list[str]:
    """One line per stage for --dry-run: skip or run, and why. Nothing is written and no model is loaded."""
    return [
        f"{'skip' if state.is_done else 'run '}  {state.name:<24} {state.reason}" for state in statuses(context, stages)
    ]


def run_experiment(context: Context, say: Say, *, accept_changes: bool = False, until: str = "") -> list[Stage]:
    """Do every stage that is not done; `until` names the last stage to do. Returns the stages of the plan.

    Raises Stopped (by a signal), Interrupted (disk full), UserError; the folder can always be continued.
    """
    config = context.config
    stages = plan(context)
    if until:
        stages = needed_for(stages, until)
    check_folder(config, accept_changes)  # before the lock, which makes the folder
    with full_disk_interrupts(config.out), locked(config.out):
        is_new = not (config.out / "config.yaml").exists()
        try:
            check_folder(config, accept_changes)
            write_text(config.out / "config.yaml", to_yaml(config))
            record_environment(context)
            do_stages(context, stages, say)
        except UserError:
            if is_new:
                leave_nothing(config.out)
            raise
    return stages


def do_stages(context: Context, stages: Sequence[Stage], say: Say) -> None:
    """Do what is not done, saying of each stage what happens and why; side by side where the config allows."""
    found = keys(stages)
    number = {stage.name: f"[{position}/{len(stages)}] {stage.name}" for position, stage in enumerate(stages, 1)}
    reasons: dict[str, str] = {}
    for stage in stages:
        link(context.run, stage, place(context.run, stage, found[stage.name], context.store))
        state = status_of(context, stage, found[stage.name])
        if state.is_done:
            say(f"{number[stage.name]}: skipped, {state.reason}")
        else:
            reasons[stage.name] = state.reason
    waiting, done = [stage for stage in stages if stage.name in reasons], {s.name for s in stages} - set(reasons)

    def tell(name: str, seconds: float | None) -> None:
        say(f"{number[name]}: {reasons[name] if seconds is None else f'done in {seconds:.1f} s'}")

    command = partial(command_of, context.run, context.store, [plugin.path for plugin in context.plugins])
    while waiting:
        if context.config.jobs > 1 and context.team is None and len(ready(waiting, done)) > 1:
            with context.stop.deferred():
                run_together(waiting, done, command, context.config.jobs, context.stop, context.progress, tell)
            continue
        stage = waiting.pop(0)
        tell(stage.name, None)
        tell(stage.name, do_stage(context, stage, found[stage.name]))
        done.add(stage.name)


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
    """The stage named, and all before it that it needs. ConfigError when the plan has no such stage."""
    by_name = {stage.name: stage for stage in stages}
    if until not in by_name:
        raise ConfigError(
            f"This config has no stage {until!r}.", f"its stages: {', '.join(by_name)}", "Add it to `stages`."
        )
    wanted: set[str] = set()
    open_names = [until]
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
