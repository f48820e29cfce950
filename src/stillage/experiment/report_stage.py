"""The report: one page from the tables of the stages before it; as a stage of a run, and by itself of a finished one."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage import __version__
from stillage.errors import ConfigError, DataError, UserError
from stillage.run.folder import changed_file
from stillage.run.stages import (
    Stage,
    link,
    read_manifest,
    stage_folder,
    stage_key,
    started_with,
    status,
)

if TYPE_CHECKING:
    from stillage.experiment.plan import Context

REPORT = "report"


def report(context: Context, folder: Path) -> None:
    """The report, from the tables of the stages before."""
    from stillage.report import write_report

    write_report(context.run, context.config.report, title=context.run.name, run_id=context.run_id)


def report_stage(context: Context, inputs: Sequence[str]) -> Stage:
    """The stage that writes the page; inputs: every other stage of the run."""
    from stillage.experiment.plan import SCHEMAS, plain

    look = plain(context.config.report)
    return Stage(
        name=REPORT,
        inputs=tuple(inputs),
        schema=SCHEMAS[REPORT],
        secret=secret_of(context.run, look),
        settings={"report": look, "version": __version__},
        work=partial(report, context),
    )


def secret_of(run: Path, look: Mapping[str, Any]) -> str:
    """What the key of a report holds besides its inputs: the key of the run, where there is one and texts are not shown."""
    from stillage.report.private import KEY_FILE, run_key

    return run_key(run).hex() if not look.get("show_text") and (run / KEY_FILE).is_file() else ""


def keyed(context: Context, stages: Sequence[Stage]) -> list[Stage]:
    """The stages, the report with the key of its run, which is made where it is missing and the report needs one."""
    from stillage.report.private import run_key

    if context.config.report.show_text or all(stage.name != REPORT for stage in stages):
        return list(stages)
    run_key(context.run)
    return [
        report_stage(context, stage.inputs) if stage.name == REPORT else stage for stage in stages
    ]


def report_again(context: Context, say: Callable[[str], None], *, only_say: bool = False) -> None:
    """Write the report of a finished run, whatever version made it and wherever it lies now; do no other stage.

    only_say: for a dry run. ConfigError where the settings are not the run's, or a live process is at work on it; DataError
    where there is no run, or a stage is not finished or damaged, naming all of them and the command that does them.
    """
    from stillage.experiment.folders import check_store
    from stillage.experiment.run import do_stage
    from stillage.run.folder import write_text
    from stillage.run.lock import check_free, locked
    from stillage.run.parse import to_yaml

    run = context.run
    check_settings(context)
    check_store(run)
    check_free(run)
    names = stage_names(context)
    check_finished(context, names)
    stage = report_stage(context, names)
    stage = stage if only_say else keyed(context, [stage])[0]
    manifests = {name: read_manifest(run / name) or {} for name in names}
    key = stage_key(
        stage.name,
        stage.settings,
        {name: one["key"] for name, one in manifests.items()},
        {},
        stage.schema,
        stage.secret,
    )
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


def check_settings(context: Context) -> None:
    """DataError without a run in the folder; ConfigError where the settings would change a stage of it."""
    from stillage.experiment.folders import done_over, earlier_config, listed
    from stillage.experiment.plan import plan
    from stillage.run.parse import changed_numbers

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
            f"`report` only reports: leave these settings out, or give them to {run_command(context)}",
        )


def stage_names(context: Context) -> list[str]:
    """The stages of the run, the report aside: those of its plan.

    Where its report was written by another version, which may plan otherwise, or the plan cannot be made any more (a data
    file is gone): those that the report was made from, and those that were begun since.
    """
    from stillage.experiment.plan import plan

    made = read_manifest(context.run / REPORT)
    if made is None or made["settings"].get("version") == __version__:
        try:
            return [stage.name for stage in plan(context) if stage.name != REPORT]
        except UserError:
            if made is None:
                raise
    begun = [
        path.name
        for path in sorted(context.run.iterdir())
        if path.name != REPORT and started_with(path)
    ]
    return list(dict.fromkeys([*made["inputs"], *begun]))


def check_finished(context: Context, names: Sequence[str]) -> None:
    """DataError that names every stage that is not finished, damaged, or made from inputs that lie there no more."""
    from stillage.experiment.folders import listed

    wrong = unfinished(context.run, names)
    if wrong:
        raise DataError(
            f"The run {context.run} is not finished, so that it cannot be reported.",
            listed(wrong),
            f"`report` only reports; this does what is missing: {run_command(context)}",
        )


def unfinished(run: Path, names: Sequence[str]) -> list[str]:
    """What is wrong with the stages, by what they wrote down of themselves: "student: damaged: model is missing".

    That a stage was made from the inputs that lie there now is checked where keys are made as this version makes them.
    """
    found = {name: read_manifest(run / name) for name in names}
    wrong = []
    for name, manifest in found.items():
        if manifest is None:
            wrong.append(
                f"{name}: {'begun, not finished' if started_with(run / name) else 'not done yet'}"
            )
            continue
        broken = changed_file(run / name, manifest["files"])
        if broken:
            wrong.append(f"{name}: damaged: {broken}")
        elif not made_from(run, name, manifest, found):
            wrong.append(f"{name}: made from other inputs than those in the folder")
    return wrong


def made_from(
    run: Path, name: str, manifest: Mapping[str, Any], found: Mapping[str, Mapping[str, Any] | None]
) -> bool:
    """Was the stage made from those stages, as far as its key can tell?"""

    def key(name: str, one: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        secret = secret_of(run, one["settings"]["report"]) if name == REPORT else ""
        return stage_key(name, one["settings"], inputs, one["outside"], one["schema"], secret)

    first = next(
        (one for one in found.items() if one[1] is not None and not one[1]["inputs"]), None
    )
    if first is None or first[1] is None or key(first[0], first[1], {}) != first[1]["key"]:
        return True  # another version made its keys otherwise
    inputs = {
        other: one["key"] for other in manifest["inputs"] if (one := found.get(other)) is not None
    }
    return len(inputs) < len(manifest["inputs"]) or key(name, manifest, inputs) == manifest["key"]


def run_command(context: Context) -> str:
    """The command that does what is missing in the run folder."""
    plugins = "".join(f" --plugin {shlex.quote(str(plugin.path))}" for plugin in context.plugins)
    return f"stillage run {shlex.quote(str(context.run))}{plugins}"
