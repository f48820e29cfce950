"""`stillage run` of a config with `sweep:`: every point, and the page of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.board import watched_session
from stillage.cli.outcome import last_stage, print_plan, warn_of_texts
from stillage.errors import ConfigError, DataError
from stillage.face.experiments import (
    SweepOutcome,
    check_audit,
    check_points,
    run_sweep,
    say_first,
    sweep_contexts,
)
from stillage.run.flags import Flat
from stillage.run.parse import build
from stillage.run.sweep import points

if TYPE_CHECKING:
    from stillage.experiment.context import Context
    from stillage.face.experiments import Session
    from stillage.plugins.plugin import Plugin
    from stillage.run.team import Team


def run_grid(
    verb: str,
    flat: Flat,
    lists: dict[str, list[str]],
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
) -> int:
    """Run, report or describe every point of a sweep, and the page of all of them."""
    base, is_dry = build(flat), "--dry-run" in switches
    out, until = base.out, last_stage(verb, base)
    grid = points(flat, lists)
    with watched_session(plugins, team) as session:
        contexts = sweep_contexts(out, grid, session)
        say_first(contexts.values(), verb, session.say)
        if verb == "report":
            outcome = report_points(out, contexts, session, is_dry=is_dry)
        elif is_dry:
            return print_plan(contexts, until, switches)
        else:
            accept = "--accept-changes" in switches
            outcome = run_sweep(out, grid, contexts, session, until=until, accept_changes=accept)
    if is_dry or (verb == "report" and len(outcome.failed) == len(grid)):
        check_points(outcome.failed, len(grid))
        return 0
    if outcome.lines:
        print("\n".join([*outcome.lines, *where_the_page_is(out)]))
    elif len(outcome.failed) < len(grid):
        print(f"{len(grid) - len(outcome.failed)} of {len(grid)} points did their {verb}: {out}")
    warn_of_texts([point.config for point in grid])
    check_audit([point.config for point in grid])
    check_points(outcome.failed, len(grid))
    return 0


def report_points(
    out: Path, contexts: Mapping[str, Context], session: Session, *, is_dry: bool
) -> SweepOutcome:
    """Write the pages of the finished points again, then that of the sweep."""
    from stillage.experiment.finished_points import finished_points
    from stillage.experiment.report_again import report_again
    from stillage.report.sweep_page import report_sweep
    from stillage.run.lock import locked

    failed: dict[str, Exception] = {}
    for name, context in contexts.items():
        try:
            report_again(context, session.say, only_say=is_dry)
        except DataError as error:  # not finished; the others have their reports
            failed[name] = error
    if is_dry or len(failed) == len(contexts):
        return SweepOutcome(failed=failed, lines=[])
    with locked(out):
        return SweepOutcome(failed=failed, lines=report_sweep(out, finished_points(out, failed)))


def report_grid(out: Path, words: Sequence[str], *, is_dry: bool) -> int:
    """Write the page of a sweep again, from its finished points.

    ConfigError for settings.
    """
    if words:
        what, values = "The page of a sweep takes no settings.", f"given: {' '.join(words)}"
        fix = "Give none, or the config of the sweep with its settings."
        raise ConfigError(what, values, fix)
    if is_dry:
        print(f"run   report   from the finished points of {out}")
    else:
        from stillage.experiment.finished_points import finished_points
        from stillage.report.sweep_page import report_sweep

        print("\n".join([*report_sweep(out, finished_points(out, {})), *where_the_page_is(out)]))
    return 0


def where_the_page_is(out: Path) -> list[str]:
    """Name the table and the page of a sweep."""
    return [
        f"results: {out / 'results.parquet'}",
        f"report: {out / 'report' / 'report.html'}",
    ]
