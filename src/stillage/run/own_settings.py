"""Settings of one entry of a table, as `audit.params.MEASURE.SETTING`."""

from __future__ import annotations

import typing
from collections.abc import Collection, Mapping

from stillage.errors import ConfigError, did_you_mean
from stillage.run.parse import typed


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
        name: typed(kind, flag_words(kind, found[name]), f"{where}.{name}")
        for name, kind in kinds.items()
    }


def flag_words(kind: type, given: Mapping[str, str]) -> list[str]:
    """Write settings as the flags of a dataclass: switches, lists, and values."""
    kinds = typing.get_type_hints(kind)
    words: list[str] = []
    for setting, value in given.items():
        if kinds.get(setting) is bool and value.lower() in ("true", "false"):
            words.append(f"--{'' if value.lower() == 'true' else 'no-'}{setting}")
        elif typing.get_origin(kinds.get(setting)) is tuple:
            words += [f"--{setting}", *value.split()]
        else:
            words.append(f"--{setting}={value}")
    return words
