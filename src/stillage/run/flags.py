"""The settings by name, and the command-line flags that set them."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Mapping, Sequence

from stillage.errors import ConfigError
from stillage.run.config import Config

Flat = dict[str, list[str]]
"""Setting path (`data.columns.prompt`) -> its words, as text."""
SWEEP = "sweep."
CASES = "sweep.cases."
CASE = "case."
"""`sweep.cases.AXIS` lists names; `case.AXIS.NAME` holds the settings of one, as JSON."""
RENAMED = {"outsiders": "nonmembers"}
"""What a part of the data was called -> what it is called now."""
ALIASES = {
    "data": "data.source",
    "method": "distill.method",
    "teacher": "teacher.path",
    "student": "student.path",
    "attacks": "audit.attacks",
    "show_text": "report.show_text",
    "members": "data.files.private",
    "nonmembers": "data.files.nonmembers",
    "data.files.members": "data.files.private",
    "data.shares.members": "data.shares.private",
}
"""Short names of what is typed most, as the arguments of the Python functions are called."""


def setting_kinds(cls: type = Config, prefix: str = "") -> dict[str, object]:
    """List every setting's path and type; a dict is one, with free keys below it."""
    kinds: dict[str, object] = {}
    for name, kind in typing.get_type_hints(cls).items():
        path = f"{prefix}{name}"
        if dataclasses.is_dataclass(kind):
            assert isinstance(kind, type)
            kinds |= setting_kinds(kind, f"{path}.")
        else:
            kinds[path] = kind
    return kinds


def is_table(kind: object) -> bool:
    """Tell whether a setting is a dict with free keys."""
    return typing.get_origin(kind) is dict


def is_list(kind: object) -> bool:
    """Tell whether a setting is a tuple of values."""
    return typing.get_origin(kind) is tuple


def setting_path(path: str, known: Mapping[str, object], where: str) -> str:
    """Return the setting that `path` names; ConfigError with the nearest names.

    `sweep.PATH` lists the values of PATH in a grid, `sweep.cases.AXIS` the names of its cases.
    """
    if path.startswith(CASES):
        return path
    if path.startswith(SWEEP):
        return SWEEP + setting_path(path.removeprefix(SWEEP), known, where)
    path = ALIASES.get(path, path)
    group, _, last = path.rpartition(".")
    if group in ("data.files", "data.shares") and last in RENAMED:
        what = f"A setting in {where} has another name now."
        raise ConfigError(what, f"given: {path}", f"Write {group}.{RENAMED[last]}.")
    if path in known or any(
        is_table(kind) and path.startswith(f"{name}.") for name, kind in known.items()
    ):
        return path
    near = difflib.get_close_matches(path, [*known, *ALIASES], n=2, cutoff=0.6) or [
        name for name in known if name.rpartition(".")[2] == last
    ]
    below = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == group]
    groups = sorted({name.rpartition(".")[0] for name in known if "." in name})
    hint = f"Known here: {', '.join((group and below) or groups)}."
    if near:
        hint = f"Did you mean {' or '.join(near)}?"
    elif group and not below:
        own = f"an experiment's: mosaic.params.{path}, a measure's: audit.params.{path}"
        hint = f"A group is one of {', '.join(groups)}; {own}."
    raise ConfigError(f"Unknown setting {path!r} in {where}.", f"given: {path}", hint)


def check_given_once(path: str, name: str, names: dict[str, str], where: str) -> None:
    """Raise ConfigError where a setting is given by two names; names: path -> name."""
    if names.setdefault(path, name) != name:
        what = f"One setting has two values in {where}."
        raise ConfigError(what, f"{names[path]} and {name} are both {path}", "Give one of them.")


def from_flags(args: Sequence[str]) -> Flat:
    """Read flags as flat settings: `--data.people 80`, `--audit.strict`, `--no-...`."""
    known = setting_kinds()
    flat: Flat = {}
    names: dict[str, str] = {}
    index = 0
    while index < len(args):
        word = args[index]
        if not word.startswith("--"):
            what = "A value stands where a flag was expected."
            raise ConfigError(what, f"given: {word}", "Write --setting value.")
        name, equals, value = word[2:].partition("=")
        end = index + 1
        while end < len(args) and not args[end].startswith("--"):
            end += 1
        words = ([value] if equals else []) + list(args[index + 1 : end])
        index = end
        for path, given in one_flag(name, words, known).items():
            said = f"--{name.replace('_', '-')}"
            switch = said.replace("no-", "", 1)  # --no-X is --X false, and the last of them wins
            is_off = switch[2:].replace("-", "_") == path
            check_given_once(path, switch if is_off else said, names, "the flags")
            flat[path] = given
    return flat


def one_flag(name: str, words: list[str], known: Mapping[str, object]) -> Flat:
    """Read one flag and its words; a table's flag holds names and values in turn."""
    path = name.replace("-", "_")
    group, _, last = path.rpartition(".")
    positive = f"{group}.{last[3:]}".lstrip(".")
    negated = last.startswith("no_") and positive in known and path not in known
    path = setting_path(positive if negated else path, known, "the flags")
    kind = known.get(path)
    if kind is bool and not words:
        return {path: ["false" if negated else "true"]}
    if is_table(kind):  # --data.columns prompt question  ==  --data.columns.prompt question
        if not words or len(words) % 2:
            values, fix = f"given: {' '.join(words) or 'nothing'}", f"Write --{name} NAME VALUE ..."
            raise ConfigError(f"--{name} takes names and values in turn.", values, fix)
        pairs = zip(words[::2], words[1::2], strict=True)
        return {setting_path(f"{path}.{key}", known, "the flags"): [item] for key, item in pairs}
    if not is_list(kind) and not path.startswith(SWEEP) and len(words) != 1:
        what = f"--{name} takes one value."
        raise ConfigError(what, f"given: {' '.join(words) or 'none'}", "Give exactly one.")
    return {path: words}


def to_args(flat: Flat) -> list[str]:
    """Write flat settings as tyro's arguments, tables left out."""
    known = setting_kinds()
    args: list[str] = []
    for path, words in flat.items():
        kind = known.get(path)
        flag = "--" + path.replace("_", "-")
        if kind is bool:
            value = words[0].lower() if words else ""
            if value not in ("true", "false"):
                what, values = f"{path} is a switch.", f"given: {' '.join(words)}"
                raise ConfigError(what, values, "Write true or false.")
            head, _, last = flag[2:].rpartition(".")
            negated = "--" + f"{head}.no-{last}".lstrip(".")
            args.append(flag if value == "true" else negated)
        elif kind is not None and not is_table(kind) and (words or is_list(kind)):
            args += [flag, *words]
    return args
