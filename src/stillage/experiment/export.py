"""A copy of a finished run or point of a sweep: real files, manifests checked."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from stillage.errors import ConfigError, DataError, listed
from stillage.experiment.folders import earlier_config
from stillage.experiment.report_stage import REPORT, report_secret
from stillage.report.private import KEY_FILE, NAMES_FILE
from stillage.run.finished import unfinished
from stillage.run.folder import atomic, sync_folder, write_text
from stillage.run.lock import check_free
from stillage.run.parse import to_yaml
from stillage.run.stages import recorded_key
from stillage.run.store import check_store

FILES = ("env.json", KEY_FILE, NAMES_FILE)


def export(run: Path, target: Path) -> list[str]:
    """Copy a finished run's stages into the new folder `target`; return their names.

    Not copied: the cache of scores (a new audit fills it again), what was set aside, temporaries.
    ConfigError for a target that is not new or lies in the run, or a run that a live process is at
    work on; DataError for a folder that is no run, a point without its store, and a stage that is
    not finished or damaged. Nothing is left behind on an error.
    """
    config = earlier_config(run)
    if config is None:
        is_sweep = (run / "sweep.json").is_file()
        hint = "It is a sweep: export one of its points." if is_sweep else "Give a run folder."
        raise DataError(f"The folder {run} is no run.", f"missing: {run / 'config.yaml'}", hint)
    check_target(run, target)
    check_store(run)
    check_free(run)
    stages = sorted({REPORT, *(path.name for path in run.iterdir() if is_stage(path))})
    wrong = unfinished(run, stages, partial(report_secret, run))
    if wrong:
        raise DataError(
            f"The run {run} cannot be exported: it is not finished.",
            listed(wrong),
            f"Finish it first: stillage run {run}",
        )
    with atomic(target) as copy:
        for name in stages:
            ignore = shutil.ignore_patterns(".tmp-*", ".old-*")
            shutil.copytree(run / name, copy / name, symlinks=False, ignore=ignore)
        for name in FILES:
            if (run / name).is_file():
                shutil.copy(run / name, copy / name)  # with its permissions
        write_text(copy / "config.yaml", to_yaml(replace(config, out=target)))
        sync_folder(copy)
        broken = unfinished(copy, stages, partial(report_secret, copy))
        if broken:
            raise DataError(
                f"The copy of {run} is not equal to it.",
                listed(broken),
                "Something changed it meanwhile: try again.",
            )
    return stages


def is_stage(path: Path) -> bool:
    """Tell whether a run folder's entry is a stage: finished, begun or a dead link."""
    hidden = path.name.startswith(".") or path.name in ("cache", "aside")
    return not hidden and (path.is_symlink() or bool(recorded_key(path)))


def check_target(run: Path, target: Path) -> None:
    """ConfigError unless the target can become a new folder outside the run."""
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        what, fix = f"The folder {target} is not new.", "Give a folder that is not there yet."
        raise ConfigError(what, "it has files", fix)
    fix = "Give another folder."
    above = next(path for path in (target, *target.parents) if path.exists() or path.is_symlink())
    if not above.is_dir():
        raise ConfigError(f"{target} cannot be a folder.", f"in its place: {above}", fix)
    if target.resolve().is_relative_to(run.resolve()):
        raise ConfigError("A copy cannot lie in the run itself.", f"{target} lies in {run}", fix)
