"""What a published script needs that no package brings: records, text, models."""

from __future__ import annotations

from pathlib import Path

from stillage.errors import ConfigError
from stillage.presets.published import MODELS, Script, published
from stillage.run.flags import Flat


def missing(script: Script, flat: Flat) -> list[tuple[str, str]]:
    """List what is missing before the settings can run: (what, how to give it)."""
    needs = missing_records(script, flat)
    if script.corpus != "-" and "lm.path" not in flat:
        fix = "--lm.path FILE, or --lm.path '' to do without"
        needs.append((f"plain text ({script.corpus} blocks)", fix))
    if script.group == "student":
        needs += missing_model("student", script.student, flat)
    return needs + missing_model("teacher", script.teacher, flat)


def missing_records(script: Script, flat: Flat) -> list[tuple[str, str]]:
    """List what is missing of the records."""
    if any(path == "data.source" or path.startswith("data.files") for path in flat):
        return []
    files = f"--data.files.{script.trained_part} FILE --data.files.validation FILE"
    return [("records", f"{files}, or --data.source FILE")]


def missing_model(group: str, cell: str, flat: Flat) -> list[tuple[str, str]]:
    """List what is missing of one model: folder, commit, or the run that trains it."""
    if cell == "given" and not flat.get(f"{group}.path"):
        return [(f"the {group}", f"--{group} FOLDER")]
    needs = []
    for setting in (f"{group}.path", f"{group}.adapter"):
        path = (flat.get(setting) or [""])[0]
        if not path or Path(path).is_dir():
            continue
        if path in MODELS.values() and not flat.get(f"{group}.revision"):
            fix = f"--{group}.revision COMMIT, or --{group} FOLDER"
            needs.append((f"the commit of {path}", fix))
        elif path.startswith("runs/") and trained_by(path).removesuffix("-init") in published():
            needs.append((path, f"`{how_to_train(trained_by(path))}`, or --{setting} FOLDER"))
    return needs


def trained_by(folder: str) -> str:
    """The script whose run would leave this folder."""
    return folder.removeprefix("runs/").rsplit("/", 2)[0]


def how_to_train(preset: str) -> str:
    """The command that runs a script, with the method init for a name in -init."""
    if preset.endswith("-init"):
        return f"stillage run {preset.removesuffix('-init')} --method init --out runs/{preset}"
    return f"stillage run {preset}"


def check_needs(script: Script, flat: Flat, *, only_records: bool = False) -> None:
    """Refuse settings from which something is missing, with how to give all of it.

    only_records: no model is going to be loaded.
    """
    needs = missing_records(script, flat) if only_records else missing(script, flat)
    if needs:
        raise ConfigError(
            f"The preset {script.preset} needs what no package can bring along.",
            "missing: " + "; ".join(what for what, _ in needs),
            "Give: " + "; ".join(fix for _, fix in needs),
        )
