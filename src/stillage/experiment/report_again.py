"""Write the report of a finished run again, by whatever version it was made."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from functools import partial

from stillage import __version__
from stillage.errors import ConfigError, DataError, UserError, listed
from stillage.experiment.context import Context
from stillage.experiment.folders import done_over, earlier_config
from stillage.experiment.plan import keyed, plan, report_plan
from stillage.experiment.report_stage import REPORT, report_secret
from stillage.experiment.run import do_stage
from stillage.run.finished import unfinished
from stillage.run.folder import write_text
from stillage.run.lock import check_free, locked
from stillage.run.parse import changed_numbers, to_yaml
from stillage.run.stages import (
    key_of,
    link,
    read_manifest,
    recorded_key,
    stage_folder,
    started_with,
    status,
)
from stillage.run.store import check_store


def report_again(context: Context, say: Callable[[str], None], *, only_say: bool = False) -> None:
    """Write a finished run's report, whatever version made it and wherever it is now.

    No other stage is done. only_say: for a dry run. ConfigError where the settings are not the
    run's, or a live process is at work on it; DataError where there is no run, or a stage is not
    finished or damaged, naming all of them and the command that does them.
    """
    run = context.run
    check_same_stages(context)
    check_store(run)
    check_free(run)
    names = stage_names(context)
    check_finished(context, names)
    stage = report_plan(context, names)
    stage = stage if only_say else keyed(context, [stage])[0]
    key = key_of(stage, {name: recorded_key(run / name) for name in names})
    folder = stage_folder(run, stage, key, context.store)
    state = status(folder, stage, key)
    say(f"{REPORT}: {'skipped, ' if state.is_done else ''}{state.reason}")
    if only_say:
        return
    with locked(run):
        link(run, stage, folder)
        do_stage(context, stage, key)
        text = to_yaml(context.config)
        if (run / "config.yaml").read_text(encoding="utf-8") != text:  # how the report looks
            write_text(run / "config.yaml", text)


def check_same_stages(context: Context) -> None:
    """DataError without a run; ConfigError where the settings would change its stages."""
    run = context.run
    before = earlier_config(run)
    if before is None:
        raise DataError(
            f"There is no run in {run} to report.",
            f"not there: {run / 'config.yaml'}",
            "`report` only reports: do the run first, with `stillage run`.",
        )
    changes = changed_numbers(before, context.config)
    if changes and done_over(context, plan(context), before):
        raise ConfigError(
            f"The folder {run} holds a run with other settings.",
            listed(changes),
            "`report` only reports: leave these settings out, or give them to "
            f"{run_command(context)}",
        )


def stage_names(context: Context) -> list[str]:
    """List the stages of the run, the report aside: those of its plan.

    Where its report was written by another version, which may plan otherwise, or no plan can be
    made (a data file is gone): those that the report was made from, and those begun since.
    """
    made = read_manifest(context.run / REPORT)
    if made is None or made["settings"].get("version") == __version__:
        try:
            return [stage.name for stage in plan(context) if stage.name != REPORT]
        except UserError:
            if made is None:
                raise
    begun = [path.name for path in sorted(context.run.iterdir()) if started_with(path)]
    return [name for name in dict.fromkeys([*made["inputs"], *begun]) if name != REPORT]


def check_finished(context: Context, names: Sequence[str]) -> None:
    """DataError that names the stages unfinished, damaged or with inputs now gone."""
    wrong = unfinished(context.run, names, partial(report_secret, context.run))
    if wrong:
        raise DataError(
            f"The run {context.run} is not finished, so that it cannot be reported.",
            listed(wrong),
            f"`report` only reports; this does what is missing: {run_command(context)}",
        )


def run_command(context: Context) -> str:
    """The command that does what is missing in the run folder."""
    plugins = "".join(f" --plugin {shlex.quote(str(plugin.path))}" for plugin in context.plugins)
    return f"stillage run {shlex.quote(str(context.run))}{plugins}"
