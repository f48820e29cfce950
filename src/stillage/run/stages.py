"""Stages: functions from inputs to a folder, done once its manifest is written.

The manifest comes last and must still match every file. A stage's key is the hash of its settings,
its inputs' keys, the files it reads from outside, and a schema number that changes with the code's
meaning. Training stages keep their checkpoints in the folder, so that a killed stage goes on.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillage.errors import UserError
from stillage.run.folder import (
    changed_file,
    hash_files,
    list_files,
    read_json,
    remove,
    sha256_text,
    write_json,
)

LOG = logging.getLogger("stillage")
MANIFEST = "manifest.json"
STARTED = "started.json"
NOT_DONE = "not done yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One folder of the run: what decides its content, and the function that fills it."""

    name: str
    settings: Mapping[str, Any]  # JSON-able; everything that decides the content
    work: Callable[[Path], None]
    inputs: tuple[str, ...] = ()  # names of stages before it
    outside: Mapping[str, str] = field(default_factory=dict)  # path -> sha256 of files elsewhere
    schema: int = 1
    kept: tuple[str, ...] = ()  # what it may leave out, and is needed now; not in the key
    secret: str = ""  # in the key and written nowhere, so that nobody can try guesses at the inputs


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether a stage is done, and why."""

    is_done: bool
    reason: str


def stage_keys(stages: Sequence[Stage]) -> dict[str, str]:
    """Each stage's key, known before anything runs; a stage comes after its inputs."""
    keys: dict[str, str] = {}
    for stage in stages:
        keys[stage.name] = key_of(stage, {name: keys[name] for name in stage.inputs})
    return keys


def key_of(stage: Stage, inputs: Mapping[str, str]) -> str:
    """The stage's key; inputs: name -> key."""
    own = (stage.outside, stage.schema, stage.secret)
    return stage_key(stage.name, stage.settings, inputs, *own)


def stage_key(
    name: str,
    settings: Mapping[str, Any],
    inputs: Mapping[str, str],
    outside: Mapping[str, str],
    schema: int,
    secret: str = "",
) -> str:
    """Hash all that decides a stage: inputs name -> key, outside path -> sha256."""
    content = {
        "name": name,
        "settings": settings,
        "inputs": dict(inputs),
        "outside": dict(outside),
        "schema": schema,
        **({"secret": secret} if secret else {}),
    }
    return sha256_text(json.dumps(content, sort_keys=True))


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a finished stage wrote down of itself; None where it is not finished."""
    path = folder / MANIFEST
    return read_json(path) if path.is_file() else None


def recorded_key(folder: Path) -> str:
    """The key that a stage was finished with, or begun with; empty: neither."""
    manifest = read_manifest(folder)
    return started_with(folder) if manifest is None else str(manifest["key"])


def changed_settings(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """The first few settings that differ, as text, by their full names."""
    before, after = (by_full_name(json.loads(json.dumps(settings))) for settings in (old, new))
    names = [name for name in {**before, **after} if before.get(name) != after.get(name)]
    said = [
        f"{one}: {shortened(before.get(one))} -> {shortened(after.get(one))}" for one in names[:3]
    ]
    return ", ".join([*said, *([f"and {len(names) - 3} more"] if len(names) > 3 else [])])


def by_full_name(settings: Mapping[str, Any], group: str = "") -> dict[str, Any]:
    """Nested settings as one dict of "group.name"."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        is_group = isinstance(value, dict)
        flat |= by_full_name(value, f"{group}{name}.") if is_group else {group + name: value}
    return flat


def shortened(value: object, most: int = 60) -> str:
    """A value as text of at most so many characters."""
    text = str(value)
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def stage_folder(run: Path, stage: Stage, key: str, store: Path | None) -> Path:
    """Where the stage's files are: in the run, or by key in a store that runs share."""
    return run / stage.name if store is None else store / f"{stage.name}-{key[:16]}"


def link(run: Path, stage: Stage, folder: Path) -> None:
    """Let the run folder's entry for the stage point to its place in a store, if any."""
    entry = run / stage.name
    if folder == entry or (entry.is_symlink() and entry.resolve() == folder.resolve()):
        return
    if entry.is_dir() and not entry.is_symlink():  # a copy that followed the links
        give_to_store(entry, folder)
    entry.unlink(missing_ok=True)
    entry.symlink_to(os.path.relpath(folder, entry.parent), target_is_directory=True)


def give_to_store(entry: Path, folder: Path) -> None:
    """Move a stage from the run folder to its place in the store, or set it aside."""
    key = recorded_key(entry)
    if key and folder.name.endswith(key[:16]) and not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        entry.rename(folder)
    elif (manifest := read_manifest(entry)) is not None and manifest == read_manifest(folder):
        remove(entry)
    else:
        set_aside(entry, key)


def status(folder: Path, stage: Stage, key: str) -> Status:
    """Whether the stage is done with this key and its files are intact; only reads."""
    manifest, is_done = read_manifest(folder), False
    if manifest is None:
        reason = "continues where it stopped" if started_with(folder) == key else NOT_DONE
    elif manifest["key"] != key:
        reason = changed_settings(manifest["settings"], stage.settings) or "an input changed"
    elif lacking := not_kept(manifest, stage):
        reason = f"{lacking} was not kept, and is needed now"
    elif wrong := changed_file(folder, manifest["files"]):
        reason = f"damaged: {wrong}"
    else:
        is_done, reason = True, "finished before with the same settings and inputs"
    return Status(is_done=is_done, reason=reason)


def not_kept(manifest: Mapping[str, Any], stage: Stage) -> str:
    """Name what a finished stage left out that is needed now; empty where nothing is."""
    made = [Path(name).parts for name in manifest["files"]] if stage.kept else []
    return next((name for name in stage.kept if all(name not in parts for parts in made)), "")


def started_with(folder: Path) -> str:
    """The key an unfinished stage was started with; empty if there is none."""
    path = folder / STARTED
    return read_json(path)["key"] if path.is_file() else ""


def set_aside(folder: Path, key: str) -> None:
    """Move a finished stage of other settings out of the way; it is not deleted."""
    target = folder.parent / "aside" / f"{folder.name}-{key[:8]}"
    remove(target)
    target.parent.mkdir(exist_ok=True)
    folder.rename(target)
    LOG.info("%s: the earlier result is kept in %s", folder.name, target)


def run_stage(folder: Path, stage: Stage, key: str) -> None:
    """Do the stage's work and seal it; a kill leaves it sealed or to be continued."""
    manifest = read_manifest(folder)
    if manifest is not None and (manifest["key"] != key or not_kept(manifest, stage)):
        set_aside(folder, manifest["key"])
    elif manifest is not None:
        remove(folder)  # damaged: no file of it can be trusted
    elif folder.exists() and started_with(folder) != key:
        remove(folder)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / STARTED, {"key": key})
    try:
        stage.work(folder)
    except UserError:
        if [path.name for path in folder.iterdir()] == [STARTED]:
            remove(folder)  # nothing was made, so nothing is left behind
        raise
    made = [path for path in list_files(folder) if path != folder / STARTED]
    content = {
        "key": key,
        "settings": dict(stage.settings),
        "inputs": list(stage.inputs),
        "outside": dict(stage.outside),
        "schema": stage.schema,
        "files": hash_files(folder, made),
    }
    write_json(folder / MANIFEST, content)
    # after the manifest: a kill while files are hashed must not cost what was made
    remove(folder / STARTED)
