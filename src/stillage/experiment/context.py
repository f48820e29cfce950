"""What every stage is given: its settings, its models, and where progress goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from stillage.audit.shadow_audit import chosen_attacks
from stillage.data.from_config import check_data
from stillage.distill.methods import METHODS
from stillage.distill.settings import method_named, params_from, unknown
from stillage.distill.track import check_tracker
from stillage.errors import ConfigError
from stillage.experiment.mosaic_checks import check_mosaic, is_mosaic
from stillage.experiment.serving_models import self_prompted_specs, shadow_specs
from stillage.experiment.specs import INIT, OUTSIDE, ModelSpec, model_specs, outside_specs
from stillage.measures import MEASURES
from stillage.measures.measure import asked_measures
from stillage.measures.params import measure_params
from stillage.plugins.plugin import Plugin, deciding
from stillage.run.config import Config
from stillage.run.folder import sha256_text
from stillage.run.parse import to_plain
from stillage.run.progress import Progress
from stillage.run.ranges import check_numbers
from stillage.run.stop import Stop
from stillage.run.team import Team
from stillage.types import Attack

HARMLESS = ("out", "jobs", "track")
"""Settings that do not name an experiment: where it lies and how it is watched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every stage's work is given."""

    config: Config
    specs: tuple[ModelSpec, ...]
    stop: Stop
    progress: Progress
    store: Path | None = None  # where stages lie that several runs share
    plugins: tuple[Plugin, ...] = ()  # code of the user's, from --plugin
    team: Team | None = None  # where several processes do this run

    def model(self, name: str) -> ModelSpec:
        """The model of that name; there must be one."""
        return next(spec for spec in self.specs if spec.name == name)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.team is None or self.team.is_first

    @property
    def cache(self) -> Path:
        """Where TokenStats are kept, by content."""
        return (self.store or self.run) / "cache"

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models that are evaluated and audited: all but those that serve others."""
        return tuple(spec for spec in self.asked if spec.name != OUTSIDE)

    @property
    def asked(self) -> tuple[ModelSpec, ...]:
        """The models that the attacks are tried on: the audited ones, and audit.reference."""
        return tuple(
            spec
            for spec in self.specs
            if spec.name != INIT and not spec.shadow and not spec.imitates
        )

    @property
    def run(self) -> Path:
        """The run folder."""
        return self.config.out

    @property
    def run_id(self) -> str:
        """12 hex digits that name the experiment: the hash of its settings, less HARMLESS."""
        plain = to_plain(self.config)
        assert isinstance(plain, dict)
        deciders = {name: value for name, value in plain.items() if name not in HARMLESS}
        distill = self.config.distill
        named = (*self.config.audit.attacks, *self.config.audit.measures)
        deciders |= deciding(self.plugins, [*named, distill.method, *distill.params.values()])
        return sha256_text(str(deciders))[:12]


def make_context(
    config: Config,
    stop: Stop,
    progress: Progress,
    store: Path | None = None,
    *,
    plugins: tuple[Plugin, ...] = (),
    team: Team | None = None,
) -> Context:
    """Check numbers and names, and sort out the models; without torch.

    ConfigError for a number out of its range, for data that cannot be, for an unknown method,
    setting of it, attack or measure.
    """
    check_numbers(config)
    check_data(config.data, kept_columns(config))
    check_tracker(config.track)
    if is_mosaic(config):
        check_mosaic(config, team)
        return Context(
            config=config, specs=(), stop=stop, progress=progress, store=store, plugins=plugins
        )
    method = method_named(METHODS, config.distill.method)
    params = params_from(method, config.distill.params)
    specs = tuple(model_specs(config, method, params))
    if "audit" in config.stages:
        specs += serving_specs(specs, config)
    return Context(
        config=config,
        specs=specs,
        stop=stop,
        progress=progress,
        store=store,
        plugins=plugins,
        team=team,
    )


def serving_specs(specs: tuple[ModelSpec, ...], config: Config) -> tuple[ModelSpec, ...]:
    """Check what the audit is asked for; list the models that serve its attacks alone."""
    from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS

    known = {**ATTACKS, **FITTED_ATTACKS, **SHADOW_ATTACKS}
    for name in config.audit.attacks:
        if name not in known:
            raise unknown("attack", name, known, "")
    chosen_attacks(config.audit)
    asking = [ATTACKS[name] for name in config.audit.attacks if name in ATTACKS]
    check_needed_part(config, asking)
    measure_params(config.audit)
    for measure in asked_measures(MEASURES, config, [spec.name for spec in specs]):
        measure.check(config)
    return (
        *outside_specs(specs, config, asking),
        *self_prompted_specs(specs, config),
        *shadow_specs(specs, config.audit.shadows),
    )


def check_needed_part(config: Config, attacks: Sequence[Attack]) -> None:
    """ConfigError for an attack on a response's needed part where its end is not set."""
    asked = [one.name for one in attacks if any(ask.transform == "needed" for ask in one.queries)]
    if asked and not config.data.needed_until:
        raise ConfigError(
            "An attack reads the needed part of a response, and nobody said where that ends.",
            f"attacks: {' '.join(asked)}; data.needed_until: ''",
            "Set data.needed_until to the text that ends the needed part, or leave out the attack.",
        )


def kept_columns(config: Config) -> tuple[str, ...]:
    """Name the columns read besides data.slice_by: the one that must be recited."""
    return (config.audit.extract,) if config.audit.extract else ()
