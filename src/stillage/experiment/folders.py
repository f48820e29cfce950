"""A run folder before a run: whether it is one, and what would be done over in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from stillage.errors import ConfigError, UserError, listed
from stillage.experiment.context import Context, make_context
from stillage.experiment.plan import plan
from stillage.run.config import Config
from stillage.run.parse import build, changed_numbers, from_yaml
from stillage.run.stages import (
    MANIFEST,
    Stage,
    not_kept,
    read_manifest,
    recorded_key,
    stage_keys,
)
from stillage.run.store import check_store

DATA, TOKENIZER, REPORT = "data", "tokenizer", "report"
INPUTS = "inputs"
"""Where a run finds what Python handed over in memory."""


def earlier_config(run: Path) -> Config | None:
    """The config that the run folder was made with; None for a new folder."""
    path = run / "config.yaml"
    return build(from_yaml(path.read_text(encoding="utf-8"), str(path))) if path.is_file() else None


def check_folder(context: Context, stages: Sequence[Stage], accept_changes: bool) -> str:
    """Refuse a folder whose stages would be done over for other settings; show them.

    ConfigError for that, and errors as `check_whole`. Where no model was trained there, no
    permission is needed: returns the changed settings, to be told; else empty. Writes nothing.
    """
    check_whole(context)
    run, before = context.run, earlier_config(context.run)
    again = [] if before is None else done_over(context, stages, before)
    if before is None or not again:
        return ""
    changes = listed(changed_numbers(before, context.config))
    if not took_a_model(run):
        return changes
    if not accept_changes:
        raise ConfigError(
            f"The folder {run} holds a run with other settings.",
            changes,
            f"Give --accept-changes to do these again: {listed([stage.name for stage in again])} "
            "(what is finished is set aside), or another --out.",
        )
    return ""


def check_whole(context: Context) -> None:
    """ConfigError for files but no run; DataError for a sweep point without its store."""
    out = context.config.out
    ours = (".lock", INPUTS)
    strange = [path.name for path in out.iterdir() if path.name not in ours] if out.is_dir() else []
    if strange and "config.yaml" not in strange:
        what, found = f"The folder {out} has files, but no run of ours.", sorted(strange)[:5]
        raise ConfigError(what, f"found: {', '.join(found)}", "Choose another folder with --out.")
    if context.store is None:
        check_store(out)


def is_whole(context: Context) -> bool:
    """Tell whether the folder is new, or a run with all its stages."""
    try:
        check_whole(context)
    except UserError:
        return False
    return True


def took_a_model(run: Path) -> bool:
    """Tell whether anything is trained, evaluated, audited, or has a checkpoint.

    Records and a tokenizer are drawn again in seconds: with nothing else, no permission is needed.
    """
    finished = {path.parent.name for path in run.glob(f"*/{MANIFEST}")} - {DATA, TOKENIZER}
    return bool(finished) or any(run.glob("*/checkpoints/*"))


def done_over(context: Context, stages: Sequence[Stage], before: Config) -> list[Stage]:
    """List the finished and begun stages whose key the settings change.

    But the report, which takes seconds. before: the config that the folder was made with; where
    what it names is gone, nothing of it can be kept.
    """
    if not changed_numbers(before, context.config):
        return []
    now = stage_keys(stages)
    lacking = [stage for stage in stages if lacks(context.run / stage.name, stage)]
    others = [
        stage
        for stage in stages
        if stage.name != REPORT
        and stage not in lacking
        and recorded_key(context.run / stage.name) not in ("", now[stage.name])
    ]
    if not others:
        return lacking
    earlier = replace(before, out=context.run)
    given = (context.stop, context.progress, context.store)
    try:
        then = make_context(earlier, *given, plugins=context.plugins, team=context.team)
        keys = stage_keys(plan(then))
    except UserError:
        return [*lacking, *others]
    return [*lacking, *(one for one in others if keys.get(one.name) != now[one.name])]


def lacks(folder: Path, stage: Stage) -> bool:
    """Tell whether a finished stage left out what is needed now."""
    manifest = read_manifest(folder)
    return manifest is not None and bool(not_kept(manifest, stage))
