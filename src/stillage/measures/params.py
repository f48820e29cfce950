"""Settings of a measure's own: `audit.params.MEASURE.SETTING`."""

from __future__ import annotations

import typing
from collections.abc import Mapping

from stillage.errors import ConfigError, did_you_mean
from stillage.measures import MEASURES
from stillage.run.audit_config import AuditConfig
from stillage.run.parse import typed


def measure_params(audit: AuditConfig) -> Mapping[str, object]:
    """Read the settings of measures that have some; ConfigError for unknown ones."""
    own = {name: measure.params for name, measure in MEASURES.items() if measure.params}
    loaded = [name for name, measure in MEASURES.items() if measure.is_asked is None]
    for name in audit.measures:
        if name not in loaded:
            raise ConfigError(
                "No measure of that name is loaded.",
                f"audit.measures: {name}; loaded: {', '.join(loaded) or 'none'}",
                f"{did_you_mean(name, loaded, '')} Load its file with --plugin FILE.".strip(),
            )
    given: dict[str, dict[str, str]] = {name: {} for name in own}
    for path, value in audit.params.items():
        name, _, setting = path.partition(".")
        if name not in own or not setting:
            raise ConfigError(
                "There is no measure with such a setting.",
                f"audit.params.{path}",
                did_you_mean(name, own, "Write audit.params.MEASURE.SETTING."),
            )
        if name in loaded and name not in audit.measures:
            raise ConfigError(
                "A measure has settings, and is not asked for.",
                f"audit.params.{path}; audit.measures: {' '.join(audit.measures) or 'none'}",
                f"Add {name} to --audit.measures, or leave the setting out.",
            )
        given[name][setting] = value
    return {
        name: typed(kind, flag_words(kind, given[name]), f"audit.params.{name}")
        for name, kind in own.items()
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
