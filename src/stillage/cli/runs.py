"""`stillage run` and the verbs that do a part of it, continued if stopped."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.cli.board import watched_session
from stillage.cli.command_line import plugin_files, read_settings
from stillage.cli.grid import report_grid, run_grid
from stillage.cli.outcome import finish, last_stage, print_plan
from stillage.face.config_source import own_folder
from stillage.face.experiments import Session, say_first
from stillage.run.config import Config
from stillage.run.parse import build
from stillage.run.sweep import swept

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
    if verb == "report" and words[:1] and (Path(words[0]) / "sweep.json").is_file():
        return report_grid(Path(words[0]), words[1:], is_dry="--dry-run" in switches)
    flat, lists = swept(read_settings(verb, words))
    if "out" not in flat:
        flat["out"] = [str(own_folder(verb, words, flat))]
        print(f"run folder: {flat['out'][0]} (--out names another)", file=sys.stderr, flush=True)
    if lists:
        return run_grid(verb, flat, lists, switches, plugins, team)
    config = build(flat)
    with watched_session(plugins, team) as session:
        code = run_one(config, verb, switches, session)
    return code if "--dry-run" in switches else finish(config, verb)


def run_one(config: Config, verb: str, switches: Sequence[str], session: Session) -> int:
    """Run, report or only describe one experiment."""
    from stillage.experiment.report_again import report_again
    from stillage.experiment.run import run_experiments

    is_dry, until = "--dry-run" in switches, last_stage(verb, config)
    context = session.context(config)
    say_first([context], verb, session.say)
    if verb == "report":
        report_again(context, print if is_dry else session.say, only_say=is_dry)
    elif is_dry:
        return print_plan({"": context}, until, switches)
    else:
        accept = "--accept-changes" in switches
        run_experiments({"": context}, session.say, accept_changes=accept, until=until)
    return 0


def run_child(words: Sequence[str], plugins: tuple[Plugin, ...]) -> int:
    """Do one stage for the process that owns the run.

    The command: `RUN --only STAGE [--store FOLDER]`.
    """
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
