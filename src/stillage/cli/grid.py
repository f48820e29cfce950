"""`stillage run` of a config with `sweep:`: every point, and the page of all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.outcome import check_audit, last_stage, print_plan, say_first, warn_of_texts
from stillage.errors import ConfigError, DataError, UserError
from stillage.experiment.folders import listed
from stillage.experiment.sweep import STORE, check_place, leave_nothing, points, write_index
from stillage.run.flags import Flat
from stillage.run.parse import build

if TYPE_CHECKING:
    from stillage.experiment.plugin import Plugin
    from stillage.experiment.team import Team


def run_grid(
    verb: str,
    flat: Flat,
    lists: dict[str, list[str]],
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
) -> int:
    """Run every point of a sweep, sharing finished stages, and write one page for all."""
    from stillage.cli.board import Board
    from stillage.experiment.plan import make_context
    from stillage.experiment.report_stage import report_again
    from stillage.experiment.run import check_folders, plans_of, run_experiments
    from stillage.run.lock import check_free, locked
    from stillage.run.stop import watch_signals

    base, accept = build(flat), "--accept-changes" in switches
    grid, until = points(flat, lists), last_stage(verb, base)
    check_place(base.out)
    check_free(base.out)
    failed: dict[str, Exception] = {}
    with watch_signals() as stop, Board() as board:
        contexts = {
            point.name: make_context(
                point.config, stop, board.show, base.out / STORE, plugins=plugins, team=team
            )
            for point in grid
        }
        say_first(contexts.values(), verb, board.say)
        if verb == "report":
            for name, context in contexts.items():
                try:
                    report_again(context, board.say, only_say="--dry-run" in switches)
                except DataError as error:  # not finished; the others have their reports
                    failed[name] = error
        elif "--dry-run" in switches:
            return print_plan(contexts, until, switches)
        else:
            check_folders(plans_of(contexts, until), accept)  # before anything is written
        if "--dry-run" in switches or (verb == "report" and len(failed) == len(grid)):
            check_points(failed, len(grid))
            return 0
        with locked(base.out):
            if verb != "report":
                write_index(base.out, grid, [context.run_id for context in contexts.values()])
                failed = run_experiments(contexts, board.say, accept_changes=accept, until=until)
            if len(failed) == len(grid):
                leave_nothing(base.out)
                said = []
            else:
                said = end_of_grid(base.out, verb, until, failed, len(grid))
    print("\n".join(said), end="\n" if said else "")
    warn_of_texts([point.config for point in grid])
    check_audit([point.config for point in grid])
    check_points(failed, len(grid))
    return 0


def report_grid(out: Path, words: Sequence[str], *, is_dry: bool) -> int:
    """Write the page of a sweep again; ConfigError for settings."""
    if words:
        what, values = "The page of a sweep takes no settings.", f"given: {' '.join(words)}"
        fix = "Give none, or the config of the sweep with its settings."
        raise ConfigError(what, values, fix)
    if is_dry:
        print(f"run   report   from the finished points of {out}")
    else:
        print("\n".join(end_of_grid(out, "report", "report", {}, 0)))
    return 0


def end_of_grid(
    out: Path, verb: str, until: str, failed: Mapping[str, Exception], count: int
) -> list[str]:
    """Write the page of the sweep, where its points have theirs; the lines to print."""
    from stillage.experiment.sweep_report import report_sweep

    if until not in ("", "report"):
        return [f"{count - len(failed)} of {count} points did their {verb}: {out}"]
    results, page = out / "results.parquet", out / "report" / "report.html"
    return [*report_sweep(out, failed), f"results: {results}", f"report: {page}"]


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
        what = f"{len(failed)} of {count} points of the sweep failed{others}."
        fix = "Mend that, and the same command does what is left."
        raise DataError(what, f"{name}: {first}{more}", fix)
