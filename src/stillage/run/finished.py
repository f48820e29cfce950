"""What is wrong with the stages of a run, by what they wrote down of themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from stillage.run.folder import changed_file
from stillage.run.stages import read_manifest, stage_key, started_with

Secret = Callable[[str, Mapping[str, Any]], str]
"""(stage, its settings) -> what its key holds besides them."""


def unfinished(run: Path, names: Sequence[str], secret: Secret) -> list[str]:
    """Say what is wrong with the stages, e.g. "student: damaged: model is missing".

    By what they wrote down of themselves. That a stage was made from the inputs that lie there now
    is checked where keys are made as this version makes them. secret: what a stage's key holds
    besides its settings.
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
        elif not made_from(name, manifest, found, secret):
            wrong.append(f"{name}: made from other inputs than those in the folder")
    return wrong


def made_from(
    name: str,
    manifest: Mapping[str, Any],
    found: Mapping[str, Mapping[str, Any] | None],
    secret: Secret,
) -> bool:
    """Tell whether a stage was made from those stages, as far as its key can tell."""

    def key(name: str, one: Mapping[str, Any], inputs: Mapping[str, str]) -> str:
        own = secret(name, one["settings"])
        return stage_key(name, one["settings"], inputs, one["outside"], one["schema"], own)

    first = next(
        (one for one in found.items() if one[1] is not None and not one[1]["inputs"]), None
    )
    if first is None or first[1] is None or key(first[0], first[1], {}) != first[1]["key"]:
        return True  # another version made its keys otherwise
    inputs = {
        other: one["key"] for other in manifest["inputs"] if (one := found.get(other)) is not None
    }
    return len(inputs) < len(manifest["inputs"]) or key(name, manifest, inputs) == manifest["key"]
