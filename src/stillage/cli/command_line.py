"""What a command line asks for: a config file, a run folder or a preset, with flags on top, as flat settings."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from stillage.errors import ConfigError
from stillage.experiment.presets import check_needs, published, settings
from stillage.experiment.sweep import check_overruled
from stillage.run.parse import Flat, from_flags, from_yaml

PRESETS = Path(__file__).parent.parent / "presets"
AUDIT_ALONE: Flat = {"stages": ["audit"], "out": ["runs/audit"]}
"""What `audit` without a config means: the models that are given, and nothing is trained."""


def plugin_files(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--plugin FILE` out of a command line: the files, and what is left. ConfigError where the file is missing."""
    files: list[Path] = []
    rest: list[str] = []
    at = iter(words)
    for word in at:
        name, equals, value = word.partition("=")
        if name != "--plugin":
            rest.append(word)
            continue
        value = value if equals else next(at, "")
        if not value or value.startswith("--"):
            raise ConfigError("--plugin takes a Python file.", f"given: {value or 'none'}", "Write --plugin mine.py.")
        files.append(Path(value))
    return files, rest


def read_settings(verb: str, words: Sequence[str]) -> Flat:
    """The settings of a command line: `[CONFIG | RUN folder | preset] --flags`; flags win."""
    source = "quickstart" if verb == "quickstart" else ""
    rest = list(words)
    if rest and not rest[0].startswith("--"):
        source = rest.pop(0)
    flat: Flat = {}
    script = None if not source or Path(source).exists() else published().get(source)
    if script is not None:
        flat = settings(script)
    elif source:
        path = config_file(source)
        flat = from_yaml(config_text(path), str(path))
        if Path(source).is_dir():
            flat["out"] = [source]  # a run folder may have been moved
    flags = from_flags(rest)
    flat |= flags
    check_overruled(flat, flags)
    if script is not None:
        check_needs(script, flat, only_records=verb == "data")
    if not source and not flat:
        raise ConfigError(
            "There is nothing to run.",
            "given: no config",
            "Give a YAML file, a preset (`stillage ls presets`) or flags.",
        )
    return audit_alone(flat) if verb == "audit" and not source else flat


def config_text(path: Path) -> str:
    """Read a config file. ConfigError where it is not text: a model, say."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not a config.",
            f"{type(error).__name__}: {error}",
            "Give a YAML file, a run folder or a preset (`stillage ls presets`).",
        ) from error


def audit_alone(flat: Flat) -> Flat:
    """The settings of an audit without a config: of the models and records that are given, trains nothing.

    ConfigError without records: made-up people say nothing about a given model.
    """
    if not any(name == "data.source" or name.startswith("data.files") for name in flat):
        raise ConfigError(
            "There are no records to audit.",
            f"given: {', '.join(flat) or 'nothing'}",
            "Give --data.files.private MEMBERS.jsonl --data.files.outsiders OUTSIDERS.jsonl.",
        )
    return AUDIT_ALONE | flat


def config_file(source: str) -> Path:
    """The YAML file that a word on the command line means: a file, a run folder's config, or a preset's name."""
    path = Path(source)
    if path.is_dir() and (path / "config.yaml").is_file():
        return path / "config.yaml"
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"The folder {source} is no run.", "config.yaml is missing", instead_of(path))
    preset = PRESETS / f"{source}.yaml"
    if preset.is_file():
        return preset
    names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    near = difflib.get_close_matches(source, [*names, *published()], n=1)
    raise ConfigError(
        f"There is no config {source!r}.",
        f"neither a file, nor a run folder, nor a preset ({', '.join(names)}, or one of `stillage ls presets`)",
        f"Did you mean {near[0]}?" if near else "Check the path.",
    )


def instead_of(folder: Path) -> str:
    """What to give in the place of a folder that is no run: a point of a grid, or a flag for a model."""
    if (folder / "sweep.json").is_file():
        runs = sorted(str(file.parent) for file in folder.glob("*/config.yaml"))
        return f"It holds a grid: give the config that made it, or one of its points ({', '.join(runs[:3])}, ...)."
    if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        return f"It is a model: give --student {folder} or --teacher {folder}."
    return "Give a run folder, or a config file."
