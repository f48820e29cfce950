"""Run an experiment or a sweep with the caller's progress display and stop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError, UserError, listed
from stillage.run.config import Config
from stillage.run.sweep import STORE, Point, check_sweep_folder, leave_nothing, write_index

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

        if store is None:
            shared = store_of(config.out)
            store = shared if shared is not None and shared.is_dir() else None
        return make_context(
            config, self.stop, self.progress, store, plugins=self.plugins, team=self.team
        )


def sweep_contexts(out: Path, grid: Sequence[Point], session: Session) -> dict[str, Context]:
    """Check and plan every point of a sweep; name of the point -> its context."""
    from stillage.run.lock import check_free

    check_sweep_folder(out)
    check_free(out)
    return {point.name: session.context(point.config, out / STORE) for point in grid}


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepOutcome:
    """What became of a sweep: the points that failed, and why; the lines of its page."""

    failed: Mapping[str, Exception]
    lines: list[str]


def run_sweep(
    out: Path,
    grid: Sequence[Point],
    contexts: Mapping[str, Context],
    session: Session,
    *,
    until: str = "",
    accept_changes: bool = False,
) -> SweepOutcome:
    """Run every point of a sweep, sharing stages, and write the page of all.

    until: the last stage to do; empty: all. The page is written where the points have theirs.
    """
    from stillage.experiment.finished_points import finished_points
    from stillage.experiment.run import check_folders, plans_of, run_experiments
    from stillage.report.sweep_page import report_sweep
    from stillage.run.lock import locked

    check_folders(plans_of(contexts, until), accept_changes)  # before anything is written
    with locked(out):
        write_index(out, grid, [context.run_id for context in contexts.values()])
        failed = run_experiments(contexts, session.say, accept_changes=accept_changes, until=until)
        if len(failed) == len(grid):
            leave_nothing(out)
            return SweepOutcome(failed=failed, lines=[])
        lines = report_sweep(out, finished_points(out, failed)) if until in ("", "report") else []
    return SweepOutcome(failed=failed, lines=lines)


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
    """Say how prompts are laid out, and which controls and records are missing.

    Nothing where no model reads any.
    """
    from stillage.audit.few_records import few_records_in
    from stillage.experiment.specs import missing_controls
    from stillage.models.layouts import layout_notes

    if verb in ("data", "report"):
        return
    contexts = list(contexts)
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

    paths = {config.out: config.out / "audit" / "validity.json" for config in configs}
    validity = {out: read_json(path) for out, path in paths.items() if path.is_file()}
    leaks = {
        out: check["detail"]
        for out, one in validity.items()
        for check in one["checks"]
        if check["name"] == "provenance" and not check["passed"]
    }
    if leaks:
        raise DataError(
            "Records reached a training that must not see them: what was measured is no leak of "
            "the teacher's.",
            listed([f"{detail} ({out})" for out, detail in leaks.items()]),
            "Find out how they came there (provenance.parquet of that stage), and train it again.",
        )
    strict = [config.out for config in configs if config.audit.strict and config.out in validity]
    failed = [
        f"{validity[out]['verdict']} ({out})"
        for out in strict
        if validity[out]["verdict"] != "valid"
    ]
    if failed:
        raise ConfigError(
            "The audit's checks do not say valid, and --audit.strict is on.",
            f"verdict: {listed(failed)}",
            "Read the checks at the top of the report; mend the split or give more records, or "
            "leave out --audit.strict.",
        )
