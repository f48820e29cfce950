"""Settings of a measure's own: `audit.params.MEASURE.SETTING`."""

from __future__ import annotations

from collections.abc import Mapping

from stillage.errors import ConfigError, did_you_mean
from stillage.measures import MEASURES
from stillage.run.audit_config import AuditConfig
from stillage.run.own_settings import own_settings


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
    unasked = [name for name in loaded if name not in audit.measures]
    return own_settings(own, audit.params, "audit.params", unasked)
