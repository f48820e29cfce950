"""YAML and flat settings into one Config: a later one wins, and tyro gives types.

YAML is read with BaseLoader: every scalar stays text (so `no` is "no" and 1e-5 is a number once a
float field asks for one), nothing is ever constructed, and a tag such as !!python/object is
refused.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import threading
import typing
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from stillage.errors import ConfigError
from stillage.run.config import SHARES_USUAL, Config, filled
from stillage.run.flags import (
    CASE,
    CASES,
    Flat,
    check_given_once,
    is_table,
    setting_kinds,
    setting_path,
    to_args,
)

Group = typing.TypeVar("Group")
ONE_AT_A_TIME = threading.Lock()
"""Held while the standard streams are redirected: they are the process's, not a thread's."""
HEADINGS = ("Parsing error", "Unrecognized options", "Required options")
"""Lines of a flag error that say nothing of it."""
HARMLESS = ("out", "jobs", "track", "report.")
"""Settings that may differ when a run is continued: its place, speed, and looks of the report."""
SHARES = "data.shares"
type_hints = functools.cache(typing.get_type_hints)


def from_yaml(text: str, where: str) -> Flat:
    """Read a YAML text flat; ConfigError for bad syntax, a tag or an unknown key."""
    import yaml

    try:
        for token in yaml.scan(text):
            if isinstance(token, yaml.TagToken):
                what = f"{where}, line {token.start_mark.line + 1}: a YAML tag is not allowed."
                raise ConfigError(what, "given: !...", "Use plain values.")
        tree = written_tree(text)
    except yaml.YAMLError as error:
        what, values = f"{where} is not valid YAML.", " ".join(str(error).split())
        raise ConfigError(what, values, "Mend that line.") from error
    if tree in ("", None):
        return {}
    if not isinstance(tree, dict):
        what, values = f"{where} is not a table of settings.", f"given: {str(tree)[:60]}"
        raise ConfigError(what, values, "Write `seed: 1`.")
    sweep = tree.get("sweep")
    cases = sweep.pop("cases", {}) if isinstance(sweep, dict) else {}
    return from_tree(tree, where) | from_cases(cases, where)


def written_tree(text: str) -> object:
    """Parse a YAML text, every scalar as text. Raises yaml.YAMLError."""
    import yaml

    return yaml.load(text, Loader=yaml.BaseLoader)


def written_settings(run: Path) -> dict[str, Any]:
    """Read the config.yaml of a run as a nested table of text, empty without one.

    For readers of finished runs: settings that this version does not know are taken as they are.
    """
    path = run / "config.yaml"
    tree = written_tree(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return tree if isinstance(tree, dict) else {}


def from_tree(tree: object, where: str) -> Flat:
    """Flatten a nested table of settings."""
    flat: Flat = {}
    known = setting_kinds()
    names: dict[str, str] = {}

    def walk(node: object, path: str) -> None:
        if isinstance(node, dict):
            if not node and is_table(known.get(path)):
                flat[path] = []
            for key, value in node.items():
                walk(value, f"{path}.{key}" if path else str(key))
        elif isinstance(node, list) and not all(isinstance(item, str) for item in node):
            what = f"{path!r} in {where} must be a list of plain values."
            raise ConfigError(what, f"given: {node}", "Flatten it.")
        else:
            words = [str(item) for item in node] if isinstance(node, list) else [str(node)]
            if words == [""] and any(name.startswith(f"{path}.") for name in known):
                return  # `data:` with nothing below it
            name, path = path, setting_path(path, known, where)
            check_given_once(path, name, names, where)
            if not (is_table(known.get(path)) and words == [""]):
                flat[path] = [] if words == ["null"] else words

    walk(tree, "")
    return flat


def from_cases(cases: object, where: str) -> Flat:
    """Flatten `sweep.cases`, axis -> name -> settings; ConfigError for other shapes."""
    flat: Flat = {}
    axes = cases.values() if isinstance(cases, dict) else [cases]
    if not isinstance(cases, dict) or not all(isinstance(axis, dict) and axis for axis in axes):
        what, values = f"sweep.cases in {where} names no cases.", f"given: {str(cases)[:60]}"
        fix = "Write e.g. cases: {size: {small: {student.width: 64}, large: {student.width: 128}}}."
        raise ConfigError(what, values, fix)
    for axis, named in cases.items():
        for name, tree in named.items():
            inner = from_tree(tree if isinstance(tree, dict) else {}, f"{where}, case {name}")
            flat[f"{CASE}{axis}.{name}"] = [json.dumps(inner)]
        flat[f"{CASES}{axis}"] = [str(name) for name in named]
    return flat


def table_settings(flat: Flat) -> dict[str, dict[str, str | float]]:
    """Collect the dict settings among the flat ones.

    A table that is given replaces its default as a whole; DataConfig completes shares.
    """
    given: dict[str, dict[str, str | float]] = {}
    for name, kind in setting_kinds().items():
        start = f"{name}."
        entries = {path[len(start) :]: one for path, one in flat.items() if path.startswith(start)}
        if not is_table(kind) or not (entries or name in flat):
            continue
        number = typing.get_args(kind)[1] is float
        try:
            given[name] = {
                key: float(words[0]) if number else " ".join(words)
                for key, words in entries.items()
            }
        except (ValueError, IndexError) as error:
            values, fix = f"given: {entries}", "Write e.g. private: 0.25."
            raise ConfigError(f"{name} takes numbers.", values, fix) from error
    return given


def shares_over(flat: Flat, flags: Flat) -> Flat:
    """Add a config's shares to the flags, scaled to what those leave of the source."""
    start = f"{SHARES}."
    on_top, below = (
        {path: words for path, words in one.items() if path.startswith(start)}
        for one in (flags, flat)
    )
    if not on_top or not below:
        return flags
    usual = filled(
        {part: float(share) for part, share in table_settings(below)[SHARES].items()}, SHARES_USUAL
    )
    table_settings(on_top)  # are they numbers?
    named = {path.removeprefix(start): float(words[0]) for path, words in on_top.items()}
    whole = {**dict.fromkeys(usual, 0.0), **filled(named, usual)}
    return flags | {f"{start}{part}": [repr(share)] for part, share in whole.items()}


def typed(kind: type[Group], args: Sequence[str], prog: str) -> Group:
    """Read a dataclass from its flags; ConfigError, three lines, for a bad one."""
    import tyro

    printed = io.StringIO()
    try:
        with ONE_AT_A_TIME, redirect_stderr(printed), redirect_stdout(printed):
            return tyro.cli(kind, args=args, prog=prog)
    except SystemExit as error:
        lines = [line.strip("│╭╮╰╯─- ") for line in printed.getvalue().splitlines()]
        told = [line for line in lines if line and "help" not in line.lower()]
        said = [line for line in told if line not in HEADINGS]
        what = said[0] if said else "A setting has a value of the wrong type."
        fix = f"`{prog} --help` shows the settings."
        raise ConfigError(what, " ".join(said[1:3]), fix) from error


def build(flat: Flat) -> Config:
    """Make a Config of flat settings; ConfigError for a value of the wrong type."""
    config = typed(Config, to_args(flat), "stillage run")
    for path, table in table_settings(flat).items():
        group, name = path.split(".")
        changed = dataclasses.replace(getattr(config, group), **{name: table})
        config = dataclasses.replace(config, **{group: changed})
    return config


def to_plain(value: object) -> object:
    """Turn a config into JSON-able values: dicts, lists and text.

    A float setting is a float even where Python code gave it an int: 10 and 10.0 are one setting,
    and have one hash.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        hints = type_hints(type(value))
        entries = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
        return {
            name: float(item) if hints[name] is float else to_plain(item)
            for name, item in entries.items()
        }
    if isinstance(value, dict):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def to_yaml(config: Config) -> str:
    """Write the whole config as YAML, every default too; `from_yaml` reads it back."""
    import yaml

    return yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True, width=100)


def flat_values(value: object, prefix: str = "") -> dict[str, object]:
    """Flatten a plain nested dict to dotted paths and leaves."""
    if isinstance(value, dict) and value:
        leaves: dict[str, object] = {}
        for key, item in value.items():
            leaves |= flat_values(item, f"{prefix}.{key}" if prefix else str(key))
        return leaves
    return {prefix: value}


def changed_numbers(old: Config, new: Config) -> list[str]:
    """List the settings that differ as `path: old -> new`, if they change a number."""
    before, after = flat_values(to_plain(old)), flat_values(to_plain(new))
    return [
        f"{path}: {before.get(path, '-')} -> {after.get(path, '-')}"
        for path in [*before, *(path for path in after if path not in before)]
        if not path.startswith(HARMLESS) and before.get(path) != after.get(path)
    ]
