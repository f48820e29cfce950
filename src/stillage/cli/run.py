"""`stillage run` and the verbs that do a part of it: a config (file or preset) and flags, one plan, continued if stopped."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.command_line import own_folder, plugin_files, read_settings
from stillage.errors import ConfigError, DataError, UserError
from stillage.experiment.sweep import STORE, check_place, leave_nothing, points, swept, write_index
from stillage.run.config import Config
from stillage.run.flags import Flat
from stillage.run.parse import build

if TYPE_CHECKING:
    from stillage.experiment.plan import Context
    from stillage.experiment.plugin import Plugin
    from stillage.experiment.team import Team

LAST_STAGE = {
    "run": "",
    "quickstart": "",
    "data": "data",
    "distill": "student",
    "evaluate": "evaluate",
    "audit": "audit",
    "report": "report",
}
"""The last stage that each verb does, with all it needs; empty: all."""
SWITCHES = ("--dry-run", "--accept-changes")


def help_text(verb: str, words: list[str]) -> str:
    """Return the common settings of a verb, or those of the section that is named after --help."""
    if verb == "data" and words[:1] == ["plain-text"]:
        from stillage.cli import plain_text

        return plain_text.help_text(verb, words[1:])
    from stillage.cli.help import plan_help

    return plan_help(verb, words)


def main(verb: str, words: list[str]) -> int:
    """Parse, plan, run; on several processes, if they were started so. Returns the exit code."""
    if verb == "data" and words[:1] == ["plain-text"]:
        from stillage.cli import plain_text
        from stillage.experiment.team import is_helper

        if is_helper():
            return 0  # one process makes the corpus
        return plain_text.main(verb, words[1:])
    from stillage.experiment.plugin import plugged
    from stillage.experiment.team import join, place

    files, words = plugin_files(words)
    if place()[1] == 1:
        with plugged(files) as plugins:
            return (
                run_child(words, plugins) if "--only" in words else do(verb, words, plugins, None)
            )
    from stillage.cli.together import follow, lead

    team = join()
    if not team.is_first:
        return follow(team, files)

    def work() -> int:
        with plugged(files) as plugins:
            return do(verb, words, plugins, team)

    return lead(team, work)


def do(verb: str, words: list[str], plugins: tuple[Plugin, ...], team: Team | None) -> int:
    """Parse, plan, run, on the process that writes."""
    switches = [word for word in words if word in SWITCHES]
    words = [word for word in words if word not in SWITCHES]
    if verb == "report" and words[:1] and (Path(words[0]) / "sweep.json").is_file():
        return report_grid(Path(words[0]), words[1:], is_dry="--dry-run" in switches)
    flat, lists = swept(read_settings(verb, words))
    if "out" not in flat:
        flat["out"] = [str(own_folder(verb, words, flat))]
        print(f"run folder: {flat['out'][0]} (--out names another)", file=sys.stderr, flush=True)
    if lists:
        return run_grid(verb, flat, lists, switches, plugins, team)
    config = build(flat)
    code = run_one(config, verb, switches, plugins, team)
    return code if "--dry-run" in switches else finish(config, verb)


def run_one(
    config: Config,
    verb: str,
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
) -> int:
    """Run, report or only describe one experiment; a point of a sweep by itself keeps its stages in the sweep's store."""
    from stillage.cli.progress import Board
    from stillage.experiment.folders import store_of
    from stillage.experiment.plan import make_context
    from stillage.experiment.report_stage import report_again
    from stillage.experiment.run import run_experiment
    from stillage.run.stop import watch_signals

    store = store_of(config.out)
    store = store if store is not None and store.is_dir() else None
    with watch_signals() as stop, Board() as board:
        context = make_context(config, stop, board.show, store, plugins=plugins, team=team)
        say_first([context], verb, board.say)
        if verb == "report":
            report_again(
                context,
                print if "--dry-run" in switches else board.say,
                only_say="--dry-run" in switches,
            )
            return 0
        if "--dry-run" in switches:
            return describe({"": context}, last_stage(verb, config), switches)
        run_experiment(
            context,
            board.say,
            accept_changes="--accept-changes" in switches,
            until=last_stage(verb, config),
        )
        return 0


def describe(contexts: Mapping[str, Context], until: str, switches: Sequence[str]) -> int:
    """Print what would be done, and first why it would be refused. Returns the exit code of that refusal, or 0.

    The code is the one that the real run would end with before its first stage, so that a script may ask before it runs.
    """
    from stillage.experiment.run import describe_plan

    lines, refusal = describe_plan(contexts, until, accept_changes="--accept-changes" in switches)
    if refusal is not None:
        print(f"stillage: the real run would be refused:\n{refusal}", file=sys.stderr, flush=True)
    if len(contexts) > 1 and lines:
        todo = sum(line.startswith("run") for line in lines)
        print(
            f"{len(contexts)} points, {len(lines)} stages, {todo} to run",
            file=sys.stderr,
            flush=True,
        )
    if lines:
        print("\n".join(lines))
    return 0 if refusal is None else refusal.exit_code


def say_first(contexts: Iterable[Context], verb: str, say: Callable[[str], None]) -> None:
    """How prompts are laid out, and by whose word, and which controls there are not; once for all points of a grid.

    Nothing where no model reads any.
    """
    from stillage.experiment.layout import layout_notes
    from stillage.experiment.roles import missing_controls

    if verb in ("data", "report"):
        return
    told = [(context.config, context.roles) for context in contexts]
    for note in dict.fromkeys(
        note for tell in (layout_notes, missing_controls) for one in told for note in tell(*one)
    ):
        say(note)


def last_stage(verb: str, config: Config) -> str:
    """The last stage to do; empty: all. An audit that trains nothing ends in its report, the only one there will be."""
    return "" if verb == "audit" and "distill" not in config.stages else LAST_STAGE[verb]


def run_child(words: Sequence[str], plugins: tuple[Plugin, ...]) -> int:
    """`run RUN --only STAGE [--store FOLDER]`: one stage for a parent process that owns the run folder."""
    from stillage.experiment.parallel import Lines, die_with_parent, parent_in
    from stillage.experiment.plan import make_context
    from stillage.experiment.run import do_only
    from stillage.run.stop import watch_signals

    die_with_parent(parent_in(words))
    store = Path(words[words.index("--store") + 1]) if "--store" in words else None
    with watch_signals() as stop:
        config = build(read_settings("run", words[:1]))
        context = make_context(config, stop, Lines().show, store, plugins=plugins)
        do_only(context, words[words.index("--only") + 1])
    return 0


def run_grid(
    verb: str,
    flat: Flat,
    lists: dict[str, list[str]],
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
) -> int:
    """Run every point of a sweep, sharing finished stages; the results of all go into one table and one page."""
    from stillage.cli.progress import Board
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
                except (
                    DataError
                ) as error:  # not finished: the others have their reports nevertheless
                    failed[name] = error
        elif "--dry-run" in switches:
            return describe(contexts, until, switches)
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
    check_audit([point.config for point in grid])
    check_points(failed, len(grid))
    return 0


def report_grid(out: Path, words: Sequence[str], *, is_dry: bool) -> int:
    """`report SWEEP`: the page of a sweep again, from its finished points. ConfigError for settings."""
    if words:
        fix = "Give none, or the config of the sweep with its settings."
        raise ConfigError(
            "The page of a sweep takes no settings.", f"given: {' '.join(words)}", fix
        )
    if is_dry:
        print(f"run   report   from the finished points of {out}")
    else:
        print("\n".join(end_of_grid(out, "report", "report", {}, 0)))
    return 0


def end_of_grid(
    out: Path, verb: str, until: str, failed: Mapping[str, Exception], count: int
) -> list[str]:
    """Write the page of the sweep, where its points have theirs; the lines to print: its verdict, and where everything is."""
    from stillage.experiment.sweep_report import report_sweep

    if until not in ("", "report"):
        return [f"{count - len(failed)} of {count} points did their {verb}: {out}"]
    lines = report_sweep(out, failed)
    return [
        *lines,
        f"results: {out / 'results.parquet'}",
        f"report: {out / 'report' / 'report.html'}",
    ]


def check_points(failed: Mapping[str, Exception], count: int) -> None:
    """Raise what ended points of a sweep: an error of the user's names them all; a bug of ours is raised as it is."""
    bugs = [error for error in failed.values() if not isinstance(error, UserError)]
    if bugs:
        raise bugs[0]
    if failed:
        name, error = next(iter(failed.items()))
        first = " ".join(str(error).splitlines()).removeprefix(f"{name}: ")
        more = f" (and of: {listed(list(failed)[1:])})" if len(failed) > 1 else ""
        raise DataError(
            f"{len(failed)} of {count} points of the sweep failed{'' if len(failed) == count else '; the others are done'}.",
            f"{name}: {first}{more}",
            "Mend that, and the same command does what is left.",
        )


def finish(config: Config, verb: str) -> int:
    """Say where the result is; a broken provenance is exit 2, and with --audit.strict any check that fails."""
    summary = config.out / "report" / "summary.txt"
    if last_stage(verb, config) in ("", "report") and summary.is_file():
        print(f"{summary.read_text(encoding='utf-8')}report: {summary.with_name('report.html')}")
    else:
        if verb == "data":
            print(split_summary(config.out / "data"))
        print(f"run folder: {config.out}")
    check_audit([config])
    return 0


def split_summary(folder: Path) -> str:
    """How many records each part got, one a line, and what was left out, collapsed or changed on the way."""
    from stillage.data.split import read_split

    split = read_split(folder)
    width, digits = (
        max(map(len, split.counts)),
        max(len(f"{count:,}") for count in split.counts.values()),
    )
    lines = [f"{part:<{width}}  {count:>{digits},} records" for part, count in split.counts.items()]
    return "\n".join([*lines, *split.remarks()])


def check_audit(configs: Sequence[Config]) -> None:
    """DataError where a record reached a stage that must not see it; ConfigError, with audit.strict, for any failed check.

    The reports are written by then, and say so first.
    """
    from stillage.run.folder import read_json

    paths = {config.out: config.out / "audit" / "validity.json" for config in configs}
    found = {out: read_json(path) for out, path in paths.items() if path.is_file()}
    leaks = {
        out: check["detail"]
        for out, one in found.items()
        for check in one["checks"]
        if check["name"] == "provenance" and not check["passed"]
    }
    if leaks:
        raise DataError(
            "Records reached a training that must not see them: what was measured is no leak of the teacher's.",
            listed([f"{detail} ({out})" for out, detail in leaks.items()]),
            "Find out how they came there (provenance.parquet of that stage), and train it again.",
        )
    strict = [config.out for config in configs if config.audit.strict and config.out in found]
    failed = [
        f"{found[out]['verdict']} ({out})" for out in strict if found[out]["verdict"] != "valid"
    ]
    if failed:
        raise ConfigError(
            "The audit's checks do not say valid, and --audit.strict is on.",
            f"verdict: {listed(failed)}",
            "Read the checks at the top of the report; mend the split or give more records, or leave out --audit.strict.",
        )


def listed(entries: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    return "; ".join(entries[:5]) + (f"; and {len(entries) - 5} more" if len(entries) > 5 else "")
