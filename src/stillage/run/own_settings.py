"""Settings of one entry of a table, as `audit.params.MEASURE.SETTING`."""

from __future__ import annotations

import re
import typing
from collections.abc import Collection, Mapping

from stillage.errors import ConfigError, did_you_mean
from stillage.run.parse import typed
from stillage.run.setting_texts import kind_word

LIST_BREAK = re.compile(r"[,\s]+")
"""Between two values of a list: 2,4 or 2 4."""


def own_settings(
    kinds: Mapping[str, type], given: Mapping[str, str], where: str, refused: Collection[str] = ()
) -> Mapping[str, object]:
    """Read the settings of each entry into its dataclass.

    Defaults where none is given. given: "ENTRY.SETTING" -> value. where: what stands before, e.g.
    audit.params. refused: entries that are not asked for. ConfigError for an unknown entry or
    setting, or one of those.
    """
    found: dict[str, dict[str, str]] = {name: {} for name in kinds}
    for path, value in given.items():
        name, _, setting = path.partition(".")
        if name not in kinds or not setting:
            raise ConfigError(
                f"There is no such setting in {where}.",
                f"{where}.{path}",
                did_you_mean(name, kinds, f"Write {where}.NAME.SETTING: {', '.join(kinds)}."),
            )
        if name in refused:
            raise ConfigError(
                f"{name} has settings, and is not asked for.",
                f"{where}.{path}",
                f"Ask for {name}, or leave the setting out.",
            )
        found[name][setting] = value
    return {
        name: settings_of_entry(kind, found[name], f"{where}.{name}")
        for name, kind in kinds.items()
    }


def settings_of_entry(kind: type, given: Mapping[str, str], where: str) -> object:
    """Read the settings of one entry.

    ConfigError that says how each of them is written.
    """
    try:
        return typed(kind, flag_words(kind, given), where)
    except ConfigError as error:
        forms = {name: written_form(one) for name, one in typing.get_type_hints(kind).items()}
        known = ", ".join(f"{name} {form}" for name, form in forms.items()) or "none"
        values = ", ".join(f"{where}.{name}: {value}" for name, value in given.items())
        what = f"{where} has no such setting, or not with such a value."
        raise ConfigError(what, values, f"Its settings: {known}.") from error


def written_form(kind: object) -> str:
    """Say how a setting is written: N, or N,N,... for a list (spaces do as well)."""
    word = kind_word(kind)
    return f"{word.removesuffix(' ...')},..." if typing.get_origin(kind) is tuple else word


def flag_words(kind: type, given: Mapping[str, str]) -> list[str]:
    """Write settings as the flags of a dataclass: switches, lists, and values."""
    kinds = typing.get_type_hints(kind)
    words: list[str] = []
    for setting, value in given.items():
        if kinds.get(setting) is bool and value.lower() in ("true", "false"):
            words.append(f"--{'' if value.lower() == 'true' else 'no-'}{setting}")
        elif typing.get_origin(kinds.get(setting)) is tuple:
            words += [f"--{setting}", *filter(None, LIST_BREAK.split(value))]
        else:
            words.append(f"--{setting}={value}")
    return words
