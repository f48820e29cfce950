"""`stillage run` and the verbs that do a part of it, continued if stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.board import watched_session
from stillage.cli.command_line import plugin_files, read_settings
from stillage.cli.outcome import finish, last_stage, print_plan
from stillage.cli.reports import report_runs, report_sweep_folder
from stillage.face.config_source import own_folder
from stillage.face.experiments import (
    check_points,
    do_experiment,
    plan_experiment,
    read_experiment,
)
from stillage.run.parse import build

if TYPE_CHECKING:
    from stillage.plugins.plugin import Plugin
    from stillage.run.team import Team

SWITCHES = ("--dry-run", "--accept-changes")


def help_text(verb: str, words: list[str]) -> str:
    """Return the common settings of a verb, or those of one section."""
    if verb == "data" and words[:1] == ["plain-text"]:
        from stillage.cli import plain_text

        return plain_text.help_text(verb, words[1:])
    from stillage.cli.help import plan_help

    return plan_help(verb, words)


def main(verb: str, words: list[str]) -> int:
    """Parse, plan, run, on several processes if they were started so; the exit code."""
    if verb == "data" and words[:1] == ["plain-text"]:
        from stillage.cli import plain_text
        from stillage.run.team import is_helper

        if is_helper():
            return 0  # one process makes the corpus
        return plain_text.main(verb, words[1:])
    from stillage.plugins.plugin import plugged
    from stillage.run.team import join, rank_and_size

    files, words = plugin_files(words)
    if rank_and_size()[1] == 1:
        with plugged(files) as plugins:
            if "--only" in words:
                return run_child(words, plugins)
            return do(verb, words, plugins, None)
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
    is_dry = "--dry-run" in switches
    if verb == "report" and words[:1] and (Path(words[0]) / "sweep.json").is_file():
        return report_sweep_folder(Path(words[0]), words[1:], is_dry=is_dry)
    flat = read_settings(verb, words)
    if "out" not in flat:
        flat["out"] = [str(own_folder(verb, words, flat))]
        print(f"run folder: {flat['out'][0]} (--out names another)", file=sys.stderr, flush=True)
    config, grid = read_experiment(flat)
    with watched_session(plugins, team) as session:
        asked, until = plan_experiment(config, grid, verb, session), last_stage(verb, config)
        if verb == "report":
            failed, lines = report_runs(asked, session, is_dry=is_dry)
        elif is_dry:
            return print_plan(asked.contexts, until, switches, verb)
        else:
            accept = "--accept-changes" in switches
            failed, lines = do_experiment(asked, session, until=until, accept_changes=accept)
    if is_dry or (verb == "report" and grid and len(failed) == len(grid)):
        check_points(failed, len(grid))
        return 0
    return finish(asked, verb, failed, lines)


def run_child(words: Sequence[str], plugins: tuple[Plugin, ...]) -> int:
    """Do one stage for the owner of a run: `RUN --only STAGE [--store FOLDER]`."""
    from stillage.experiment.context import make_context
    from stillage.experiment.run import do_only
    from stillage.run.children import Lines, die_with_parent, parent_in
    from stillage.run.stop import watch_signals

    die_with_parent(parent_in(words))
    store = Path(words[words.index("--store") + 1]) if "--store" in words else None
    with watch_signals() as stop:
        config = build(read_settings("run", words[:1]))
        context = make_context(config, stop, Lines().show, store, plugins=plugins)
        do_only(context, words[words.index("--only") + 1])
    return 0
