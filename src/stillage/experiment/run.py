"""Run an experiment: check the folder, do each stage not done yet and say why."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from stillage.errors import ConfigError, Interrupted, UserError
from stillage.experiment.context import Context
from stillage.experiment.folders import check_folder, is_whole
from stillage.experiment.inputs import check_given
from stillage.experiment.plan import keyed, plan
from stillage.experiment.report_stage import REPORT
from stillage.experiment.specs import check_files
from stillage.measures import MEASURES
from stillage.run.children import Parent, command_of, ready, run_together
from stillage.run.environment import environment, package_versions
from stillage.run.folder import full_disk_interrupts, read_json, remove, write_json, write_text
from stillage.run.lock import check_free, locked
from stillage.run.parse import to_yaml
from stillage.run.schedule import Planned, Schedule, Task, schedule
from stillage.run.stages import NOT_DONE, Stage, link, run_stage, stage_folder, stage_keys, status

LOG = logging.getLogger("stillage")
Say = Callable[[str], None]
Plans = Mapping[str, tuple[Context, Sequence[Stage]]]
"""Name of a run -> what its work is given, and its stages."""


def plans_of(
    contexts: Mapping[str, Context], until: str = ""
) -> dict[str, tuple[Context, list[Stage]]]:
    """Plan each run up to the stage `until`. Errors as `plan` and `needed_for`."""
    found = {}
    for name, context in contexts.items():
        stages = plan(context)
        found[name] = (context, needed_for(stages, until) if until else stages)
    return found


def check_folders(plans: Plans, accept_changes: bool) -> None:
    """Raise what would keep the runs from starting; writes nothing.

    Errors as `check_files`, `check_folder`, `check_given` and `check_free`.
    """
    for context, stages in plans.values():
        check_files(context.config, context.specs)
        check_folder(context, stages, accept_changes)
        if any(stage.name not in ("data", REPORT) for stage in stages):
            check_given(context)
    for context, _ in plans.values():
        check_free(context.run)


def describe_plan(
    contexts: Mapping[str, Context], until: str = "", *, accept_changes: bool = False
) -> tuple[Schedule, UserError | None]:
    """Sort out for --dry-run what would be done, and the error it would start with.

    Nothing is written, no model is loaded, and no records are read. Strange files, or links that
    lead nowhere, give no plan.
    """
    plans = plans_of(contexts, until)
    refusal = None
    try:
        check_folders(plans, accept_changes)
    except UserError as error:
        refusal = error
        if not all(is_whole(context) for context, _ in plans.values()):
            plans = {}
    return scheduled(plans), refusal


def run_experiments(
    contexts: Mapping[str, Context], say: Say, *, accept_changes: bool = False, until: str = ""
) -> dict[str, Exception]:
    """Do all unfinished stages of runs that share a store; return what failed and why.

    `until` names the last stage to do. Every stage that several runs need is done once, and stages
    of different runs side by side as `jobs` allows. A run alone raises its error: Stopped (by a
    signal), Interrupted (disk full), UserError. Of several, an error ends those that need its
    stage; the others go on; Stopped and Interrupted end all. The same call continues every run.
    """
    plans = plans_of(contexts, until)
    check_folders(plans, accept_changes)  # before the lock, which makes the folder
    with ExitStack() as held:
        new = []
        for context in contexts.values():
            out = context.config.out
            held.enter_context(full_disk_interrupts(out))
            held.enter_context(locked(out))
            new += [] if (out / "config.yaml").exists() else [out]
        try:
            for context, stages in plans.values():
                if changes := check_folder(context, stages, accept_changes):
                    held = "%s held no model yet, and is done over with other settings: %s"
                    LOG.warning(held, context.run, changes)
                write_text(context.config.out / "config.yaml", to_yaml(context.config))
                record_environment(context)
            failed = do_stages(
                {name: (one, keyed(one, stages)) for name, (one, stages) in plans.items()}, say
            )
        except UserError:
            for out in new:
                drop_empty_run(out)
            raise
        for out in (contexts[name].run for name in failed):
            if out in new:
                drop_empty_run(out)
    return {name: failed[name] for name in contexts if name in failed}  # in the runs' order


def do_stages(plans: Plans, say: Say) -> dict[str, Exception]:
    """Do what is not done and say why; side by side where the configs allow.

    Returns the runs that failed and why; the error of a run alone is raised.
    """
    found = scheduled_and_linked(plans)
    states = {label: task.state for label, task in found.tasks.items()}
    number = {label: f"[{place}/{len(states)}] {label}" for place, label in enumerate(states, 1)}
    done = {label for label, state in states.items() if state.is_done}
    failed: dict[str, Exception] = {}
    in_name_of: dict[str, str] = {}  # label -> the run for which it was begun last
    for label in (label for label in states if label in done):
        say(f"{number[label]}: skipped, {states[label].reason}")
    waiting = [found.labelled(label) for label in states if label not in done]

    def tell(label: str, seconds: float | None) -> None:
        starts = "starts" if states[label].reason == NOT_DONE else states[label].reason
        say(f"{number[label]}: {starts if seconds is None else f'done in {seconds:.1f} s'}")

    def task_of(label: str) -> tuple[Context, Task]:
        task = found.still_offered(label, failed)[0]
        in_name_of[label] = task.run
        return plans[task.run][0], task

    def give_up(label: str, error: Exception) -> None:
        """Go on with the stages that a run needs which has not failed, this one included."""
        for run in found.ended_by(label, in_name_of[label]):
            failed.setdefault(run, error)
        left = [found.labelled(label), *waiting]
        waiting[:] = [stage for stage in left if found.still_offered(stage.name, failed)]
        say(f"{number[label]}: failed: {getattr(error, 'what', error)}")

    while waiting:
        first, *others = ready(waiting, done)
        context, task = task_of(first.name)
        if others and context.config.jobs > 1 and context.team is None:
            parent = Parent(
                command=lambda label: child_command(*task_of(label)),
                jobs=context.config.jobs,
                stop=context.stop,
                progress=context.progress,
                say=tell,
                give_up=give_up if len(plans) > 1 else None,
            )
            with context.stop.deferred():
                run_together(waiting, done, parent)
            continue
        waiting.remove(first)
        tell(first.name, None)
        try:
            tell(first.name, do_stage(context, task.stage, task.key))
            done.add(first.name)
        except Interrupted:
            raise
        except Exception as error:
            if len(plans) == 1 or context.team is not None:  # whose others wait in that stage
                raise
            give_up(first.name, error)
    return failed


def scheduled_and_linked(plans: Plans) -> Schedule:
    """Sort out what to do, and link each run's folder to its stages in a store."""
    found = scheduled(plans)
    for name, (context, stages) in plans.items():
        for stage, label in zip(stages, found.of_run[name], strict=True):
            link(context.run, stage, found.folders[label])
    return found


def child_command(context: Context, task: Task) -> list[str]:
    """The command line that does one stage in a process of its own."""
    plugins = [plugin.path for plugin in context.plugins]
    return command_of(context.run, context.store, plugins, task.stage.name)


def scheduled(plans: Plans) -> Schedule:
    """Sort out what the runs have to do together."""
    planned = {
        name: Planned(run=context.run, store=context.store, stages=stages)
        for name, (context, stages) in plans.items()
    }
    return schedule(planned)


def do_stage(context: Context, stage: Stage, key: str) -> float:
    """Do one stage here, unless another process did meanwhile; return the seconds."""
    started = time.monotonic()
    folder = stage_folder(context.run, stage, key, context.store)
    with locked((context.store or context.run) / ".locks" / folder.name, wait=True):
        if not status(folder, stage, key).is_done:
            run_stage(folder, stage, key)
    return time.monotonic() - started


def do_only(context: Context, name: str) -> None:
    """Do one stage of another process's run, as a child of `children.run_together`."""
    stages = plan(context)
    found = stage_keys(stages)
    stage = next(stage for stage in stages if stage.name == name)
    with full_disk_interrupts(context.run):
        do_stage(context, stage, found[name])


def drop_empty_run(run: Path) -> None:
    """Remove a new run folder in which no stage left anything, after a user's error."""
    remove(run / ".locks")
    for path in run.iterdir():
        if path.is_symlink() and not path.exists():  # to a stage of a store that was never made
            path.unlink()
    if any(path.is_dir() for path in run.iterdir()):
        return
    for name in ("config.yaml", "env.json", "report.key", ".lock"):
        (run / name).unlink(missing_ok=True)
    if not any(run.iterdir()):
        run.rmdir()


def needed_for(stages: Sequence[Stage], until: str) -> list[Stage]:
    """List a stage and its needs, an audit's measures too; ConfigError if unknown."""
    by_name = {stage.name: stage for stage in stages}
    if until not in by_name:
        what, values = f"This config has no stage {until!r}.", f"its stages: {', '.join(by_name)}"
        raise ConfigError(what, values, "Add it to `stages`.")
    wanted: set[str] = set()
    open_names = [until]
    if until == "audit":  # who asks for it asks for the measures too
        open_names += [name for name in MEASURES if name in by_name]
    while open_names:
        name = open_names.pop()
        if name not in wanted:
            wanted.add(name)
            open_names += by_name[name].inputs
    return [stage for stage in stages if stage.name in wanted]


def record_environment(context: Context) -> None:
    """Write env.json, plugins and processes included; warn of versions that changed."""
    path = context.run / "env.json"
    if path.is_file():
        before, now = read_json(path)["packages"], package_versions()
        if changed := [name for name, version in now.items() if before.get(name) != version]:
            LOG.warning("other package versions than when the run began: %s", ", ".join(changed))
    added = [
        {"path": str(plugin.path), "sha256": plugin.sha256, "adds": plugin.names}
        for plugin in context.plugins
    ]
    processes = 1 if context.team is None else context.team.size
    write_json(path, {**environment(), "plugins": added, "processes": processes})
