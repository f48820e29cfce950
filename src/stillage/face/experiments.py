"""Run an experiment or a sweep with the caller's progress display and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError, UserError, listed
from stillage.run.config import Config
from stillage.run.flags import Flat
from stillage.run.parse import build
from stillage.run.sweep import (
    STORE,
    Point,
    check_sweep_folder,
    leave_nothing,
    sweep_points,
    swept,
    write_index,
)

if TYPE_CHECKING:
    from stillage.experiment.context import Context
    from stillage.plugins.plugin import Plugin
    from stillage.run.progress import Progress
    from stillage.run.stop import Stop
    from stillage.run.team import Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """How runs are stopped and told of, what they may use, and who takes part."""

    stop: Stop
    say: Callable[[str], None]
    progress: Progress
    plugins: tuple[Plugin, ...] = ()
    team: Team | None = None

    def context(self, config: Config, store: Path | None = None) -> Context:
        """Check a config and plan its models.

        store: where stages lie that points of a sweep share; a point by itself finds its sweep's.
        """
        from stillage.experiment.context import make_context
        from stillage.run.store import store_of

        if store is None and (shared := store_of(config.out)) and shared.is_dir():
            store = shared
        return make_context(
            config, self.stop, self.progress, store, plugins=self.plugins, team=self.team
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One experiment, or every point of a sweep, and the work planned for each."""

    config: Config
    grid: Sequence[Point]
    """The points of a sweep; none: the config is run by itself."""
    contexts: Mapping[str, Context]
    """Name of the point -> its context; of an experiment by itself the name is empty."""

    @property
    def configs(self) -> list[Config]:
        """The config of every run."""
        return [context.config for context in self.contexts.values()]


def read_experiment(flat: Flat) -> tuple[Config, list[Point]]:
    """Build a config, and the points of its sweep. ConfigError as those raise it."""
    base, lists = swept(flat)
    return build(base), sweep_points(base, lists) if lists else []


def plan_experiment(
    config: Config, grid: Sequence[Point], verb: str, session: Session
) -> Experiment:
    """Check and plan every run, and say first what the user should know."""
    from stillage.run.lock import check_free

    if grid:
        check_sweep_folder(config.out)
        check_free(config.out)
        store = config.out / STORE
        contexts = {point.name: session.context(point.config, store) for point in grid}
    else:
        contexts = {"": session.context(config)}
    say_first(contexts.values(), verb, session.say)
    return Experiment(config=config, grid=grid, contexts=contexts)


def do_experiment(
    asked: Experiment, session: Session, *, until: str = "", accept_changes: bool = False
) -> tuple[Mapping[str, Exception], Sequence[str]]:
    """Do every run; points of a sweep share stages, and its page is written.

    Returns the points that failed, and why; and the lines of the page, where the points have one.
    An experiment by itself raises its error. until: the last stage to do; empty: all.
    """
    from stillage.experiment.run import check_folders, plans_of, run_experiments

    out, contexts = asked.config.out, asked.contexts
    do = partial(run_experiments, contexts, session.say, accept_changes=accept_changes, until=until)
    if not asked.grid:
        return do(), []
    from stillage.run.lock import locked

    check_folders(plans_of(contexts, until), accept_changes)  # before anything is written
    with locked(out):
        write_index(out, asked.grid, [context.run_id for context in contexts.values()])
        failed = do()
        if len(failed) == len(asked.grid):
            leave_nothing(out)
            return failed, []
        lines = write_page(out, failed) if until in ("", "report") else []
    return failed, lines


def write_page(out: Path, failed: Mapping[str, Exception]) -> list[str]:
    """Write the page of a sweep from its finished points; return its summary."""
    from stillage.experiment.finished_points import finished_points
    from stillage.report.mosaic_sweep import is_mosaic_run, report_mosaic_sweep
    from stillage.report.sweep_page import report_sweep

    points = finished_points(out, failed)
    finished = [point.name for point in points if point.is_finished]
    if not any(is_mosaic_run(out / name) for name in finished):
        return report_sweep(out, points)
    others = {point.name: point.state for point in points if not point.is_finished}
    return report_mosaic_sweep(out, finished, others)


def check_points(failed: Mapping[str, Exception], count: int) -> None:
    """Raise what ended points of a sweep.

    An error of the user's names them all; a bug of ours is raised as it is.
    """
    bugs = [error for error in failed.values() if not isinstance(error, UserError)]
    if bugs:
        raise bugs[0]
    if failed:
        name, error = next(iter(failed.items()))
        first = " ".join(str(error).splitlines()).removeprefix(f"{name}: ")
        more = f" (and of: {listed(list(failed)[1:])})" if len(failed) > 1 else ""
        others = "" if len(failed) == count else "; the others are done"
        raise DataError(
            f"{len(failed)} of {count} points of the sweep failed{others}.",
            f"{name}: {first}{more}",
            "Mend that, and the same command does what is left.",
        )


def say_first(contexts: Iterable[Context], verb: str, say: Callable[[str], None]) -> None:
    """Say how prompts are laid out, and which controls and records are missing."""
    from stillage.audit.few_records import few_records_in
    from stillage.experiment.mosaic_checks import is_mosaic
    from stillage.experiment.specs import missing_controls
    from stillage.models.layouts import layout_notes

    if verb in ("data", "report"):  # no model reads a prompt
        return
    contexts = [context for context in contexts if not is_mosaic(context.config)]
    notes: list[str] = []
    for context in contexts:
        used = [spec.name for spec in context.specs if not spec.is_trained]
        trains = len(used) < len(context.specs)
        notes += layout_notes(context.config, used, trains=trains)
    for context in contexts:
        notes += missing_controls(context.config, context.specs)
    notes += [f"warning: {few}" for context in contexts if (few := few_records_in(context.config))]
    for note in dict.fromkeys(notes):
        say(note)


def check_audit(configs: Sequence[Config]) -> None:
    """Raise DataError for a leak into a training; if strict, ConfigError for a check.

    The reports are written by then, and say so first.
    """
    from stillage.run.folder import read_json

    leaks, doubts = [], []
    for config in configs:
        path = config.out / "audit" / "validity.json"
        if not path.is_file():
            continue
        validity = read_json(path)
        leaks += [
            f"{check['detail']} ({config.out})"
            for check in validity["checks"]
            if check["name"] == "provenance" and not check["passed"]
        ]
        if config.audit.strict and validity["verdict"] != "valid":
            doubts.append(f"{validity['verdict']} ({config.out})")
    if leaks:
        raise DataError(
            "Records reached a training that must not see them: what was measured is no leak of "
            "the teacher's.",
            listed(leaks),
            "Find out how they came there (provenance.parquet of that stage), and train it again.",
        )
    if doubts:
        raise ConfigError(
            "The audit's checks do not say valid, and --audit.strict is on.",
            f"verdict: {listed(doubts)}",
            "Read the checks at the top of the report; mend the split or give more records, or "
            "leave out --audit.strict.",
        )
