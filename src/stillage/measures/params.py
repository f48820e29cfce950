"""Settings of a measure's own: `audit.params.MEASURE.SETTING`."""

from __future__ import annotations

from collections.abc import Mapping

from stillage.errors import ConfigError, did_you_mean
from stillage.measures import MEASURES
from stillage.run.audit_config import AuditConfig
from stillage.run.parse import typed


def measure_params(audit: AuditConfig) -> Mapping[str, object]:
    """Read the settings of measures that have some; ConfigError for unknown ones."""
    own = {name: measure.params for name, measure in MEASURES.items() if measure.params}
    for name in audit.measures:
        if name not in MEASURES:
            raise ConfigError(
                "There is no such measure.",
                f"audit.measures: {name}",
                did_you_mean(name, MEASURES, "Load it with --plugin FILE."),
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
        given[name][setting] = value
    return {
        name: typed(
            kind,
            [word for setting, value in given[name].items() for word in (f"--{setting}", value)],
            f"audit.params.{name}",
        )
        for name, kind in own.items()
    }
