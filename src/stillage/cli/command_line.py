"""Read a command line: a config, a run folder or a preset, with flags on top."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stillage.errors import ConfigError
from stillage.face.config_source import config_settings
from stillage.run.flags import Flat, from_flags

AUDIT_ALONE: Flat = {"stages": ["audit"]}
"""What `audit` without a config means: the models that are given, and nothing is trained."""

WANTED = {
    "audit": "Give --teacher T --student S --members A.jsonl --nonmembers B.jsonl; or a run.",
    "evaluate": "Give MODEL --data SET (`stillage evaluate --help`), or a run folder.",
    "report": "Give the folder of a run or of a sweep, e.g. stillage report runs/quickstart.",
}
"""Verb -> what to give it where nothing was given; other verbs want a config."""


def plugin_files(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--plugin FILE` out of a command line: the files, and what is left.

    ConfigError where no file is named.
    """
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
            given = f"given: {value or 'none'}"
            raise ConfigError("--plugin takes a Python file.", given, "Write --plugin mine.py.")
        files.append(Path(value))
    return files, rest


def read_settings(verb: str, words: Sequence[str]) -> Flat:
    """Read `[CONFIG | RUN folder | preset] --flags` as settings; flags win."""
    source = "quickstart" if verb == "quickstart" else ""
    rest = list(words)
    if rest and not rest[0].startswith("--"):
        source = rest.pop(0)
    flat = config_settings(source or {}, from_flags(rest), verb)
    if not source and not flat:
        usual = "Give a YAML file, a preset (`stillage ls presets`) or flags."
        fix = WANTED.get(verb, usual)
        raise ConfigError("There is nothing to run.", "given: no config", fix)
    return audit_alone(flat) if verb == "audit" and not source else flat


def audit_alone(flat: Flat) -> Flat:
    """Complete the settings of an audit without a config: it trains nothing.

    ConfigError without records: made-up people say nothing about a given model.
    """
    if not any(name == "data.source" or name.startswith("data.files") for name in flat):
        given = f"given: {', '.join(flat) or 'nothing'}"
        fix = "Give --members MEMBERS.jsonl --nonmembers OTHERS.jsonl."
        raise ConfigError("There are no records to audit.", given, fix)
    return AUDIT_ALONE | flat
