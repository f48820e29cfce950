"""Which stages a config asks for, and what decides the content of each: the plan is known before anything runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from stillage.data.from_config import check_data
from stillage.distill.methods import METHODS
from stillage.distill.settings import method_named, params_from, unknown
from stillage.distill.track import check_tracker
from stillage.errors import ConfigError, DataError
from stillage.experiment.dp_stage import check_dp
from stillage.experiment.exposure_stage import check_exposure
from stillage.experiment.outside import (
    outside_data,
    outside_folder,
    outside_model,
    outside_tokenizer,
    tokenizer_source,
)
from stillage.experiment.plugin import Plugin, deciding
from stillage.experiment.self_prompted import self_prompted_specs
from stillage.experiment.shadows import DESIGN, chosen_attacks, make_design, shadow_specs
from stillage.experiment.specs import (
    INIT,
    OUTSIDE,
    ModelSpec,
    model_specs,
    outside_specs,
    reads_corpus,
)
from stillage.experiment.team import Team
from stillage.models.source import check_place
from stillage.run.config import Config, ModelConfig, TrainConfig
from stillage.run.folder import sha256_text
from stillage.run.parse import to_plain
from stillage.run.progress import Doing, watched
from stillage.run.ranges import check_numbers
from stillage.run.stages import Stage
from stillage.run.stop import Stop
from stillage.types import Attack

SCHEMAS = {
    "data": 5,
    "tokenizer": 1,
    "train": 1,
    DESIGN: 1,
    "evaluate": 4,
    "audit": 7,
    "blocks": 3,
    "signal": 3,
    "exposure": 3,
    "dp": 2,
    "report": 4,
}
"""Raised when the code's meaning changes, so that results of older code are not mistaken for the new one's."""
BESIDE = {"audit": ("blocks", "signal", "exposure", "dp")}
"""Stages that belong to another: who asks for that one, asks for them."""
BLOCKS, SIGNAL = ("blocks", "block_records"), ("signal_records",)
EXPOSURE = ("exposure_records", "exposure_candidates")
SELF_PROMPT = ("self_prompt_texts", "self_prompt_epochs")
DP = ("dp", "dp_attack", "dp_guesses", "dp_delta")

Progress = Callable[[str, Mapping[str, Any]], None]
"""progress(stage name, facts): facts of a training or of a loop over records, for a bar or a log line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What every stage's work is given."""

    config: Config
    specs: tuple[ModelSpec, ...]
    method_params: object
    stop: Stop
    progress: Progress
    store: Path | None = None  # where stages lie that several runs share
    plugins: tuple[Plugin, ...] = ()  # code of the user's, from --plugin
    team: Team | None = None  # where several processes do this run

    def doing(self, stage: str, model: str) -> Doing:
        """Where the loops of a stage tell about one model how far they are."""
        return watched(partial(self.progress, stage), model)

    @property
    def is_first(self) -> bool:
        """Is this the process that writes?"""
        return self.team is None or self.team.is_first

    @property
    def cache(self) -> Path:
        """Where TokenStats are kept, by content."""
        return (self.store or self.run) / "cache"

    @property
    def models(self) -> tuple[ModelSpec, ...]:
        """The models that are evaluated and audited: all but those that serve others (starts, shadows, references)."""
        return tuple(spec for spec in self.asked if spec.name != OUTSIDE)

    @property
    def asked(self) -> tuple[ModelSpec, ...]:
        """The models that the attacks are tried on: those that are audited, and what audit.reference adds to them."""
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
        """12 hex digits that name the experiment: the hash of its settings, wherever its folder lies."""
        plain = to_plain(self.config)
        assert isinstance(plain, dict)
        harmless = ("out", "jobs", "track")
        deciders = {name: value for name, value in plain.items() if name not in harmless}
        distill = self.config.distill
        deciders |= deciding(
            self.plugins, [*self.config.audit.attacks, distill.method, *distill.params.values()]
        )
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
    """Check numbers and names, and sort out the models. No torch.

    ConfigError for a number out of its range, for data that cannot be, for an unknown method, setting of it, or attack.
    """
    check_numbers(config)
    check_data(config.data, kept_columns(config))
    check_tracker(config.track)
    method = method_named(METHODS, config.distill.method)
    params = params_from(method, config.distill.params)
    specs = tuple(model_specs(config, method, params))
    if "audit" in config.stages:
        from stillage.audit.attacks import ATTACKS, FITTED_ATTACKS, SHADOW_ATTACKS

        known = {**ATTACKS, **FITTED_ATTACKS, **SHADOW_ATTACKS}
        for name in config.audit.attacks:
            if name not in known:
                raise unknown("attack", name, known, "")
        chosen_attacks(config.audit)
        check_needed_part(config, ATTACKS)
        check_exposure(config)
        if config.audit.dp:
            check_dp(config, ATTACKS)
        asking = [ATTACKS[name] for name in config.audit.attacks if name in ATTACKS]
        outside = outside_specs(specs, config, asking)
        specs = (
            *specs,
            *outside,
            *self_prompted_specs(specs, config),
            *shadow_specs(specs, config.audit.shadows),
        )
    return Context(
        config=config,
        specs=specs,
        method_params=params,
        stop=stop,
        progress=progress,
        store=store,
        plugins=plugins,
        team=team,
    )


def plan(context: Context) -> list[Stage]:
    """The stages in order, inputs first. ModelError where a run that trains nothing names a model that is not there."""
    from stillage.experiment import data_stage, evaluate_stage, report_stage
    from stillage.experiment.attack_settings import with_used_settings
    from stillage.experiment.audit_stage import audit

    config = context.config
    stages = [
        Stage(
            name="data",
            settings={
                "data": data_settings(config),
                "seed": config.seed,
                **({"audits": "audit" in config.stages} if config.data.train_on else {}),
            },
            work=partial(data_stage.make_data, context),
            outside=outside_data(config),
            schema=SCHEMAS["data"],
        )
    ]
    if any(not spec.start.source or spec.is_trained for spec in context.specs):
        stages.append(
            Stage(
                name="tokenizer",
                settings={
                    "tokenizer": plain(config.tokenizer),
                    "from": tokenizer_source(config)[0],
                },
                inputs=("data",),
                work=partial(data_stage.make_tokenizer, context),
                outside=outside_tokenizer(tokenizer_source(config)[0]),
                schema=SCHEMAS["tokenizer"],
            )
        )
    own = [
        spec for spec in context.specs if spec.is_trained and not spec.shadow and not spec.imitates
    ]
    stages += [train_stage(context, spec) for spec in own]
    before = tuple(stage.name for stage in stages)
    models, given = given_models(context.models)
    for spec in context.specs if "distill" not in config.stages else ():
        if spec.start.path:
            check_place(spec.start.path, spec.start.revision)
    if "evaluate" in config.stages:
        stages.append(
            Stage(
                name="evaluate",
                inputs=before,
                outside=models,
                schema=SCHEMAS["evaluate"],
                settings={
                    "generate": without(config.generate, "batch_tokens"),
                    "given": given,
                    "seed": config.seed,
                    "level": config.audit.level,
                    **needed_until(config),
                },
                work=partial(evaluate_stage.evaluate, context),
            )
        )
    if "audit" in config.stages:
        used = with_used_settings(config.audit)
        if used.masked_model:
            check_place(used.masked_model, used.masked_revision)
        others = [
            *shadow_stages(context),
            *(train_stage(context, spec) for spec in context.specs if spec.imitates),
        ]
        stages += others
        before = (*before, *(stage.name for stage in others))
        asked, asked_given = given_models(context.asked)
        stages.append(
            Stage(
                name="audit",
                inputs=before,
                outside=asked | outside_model(ModelConfig(path=used.masked_model)),
                schema=SCHEMAS["audit"],
                settings={
                    "audit": without(
                        used,
                        "batch_tokens",
                        "strict",
                        *BLOCKS,
                        *SIGNAL,
                        *EXPOSURE,
                        *SELF_PROMPT,
                        *DP,
                    ),
                    "given": asked_given,
                    "seed": config.seed,
                    **deciding(context.plugins, config.audit.attacks),
                    **needed_until(config),
                },
                work=partial(audit, context),
            )
        )
        stages += beside_audit(context, models, given, before)
    return [*stages, report_stage.report_stage(context, [stage.name for stage in stages])]


def given_models(specs: Sequence[ModelSpec]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Of the models that are not trained: the hashes of all their files, and where each starts."""
    given = [spec for spec in specs if not spec.is_trained]
    models = {path: digest for spec in given for path, digest in outside_model(spec.start).items()}
    return models, {spec.name: plain(spec.start) for spec in given}


def beside_audit(
    context: Context,
    models: dict[str, str],
    given: dict[str, dict[str, Any]],
    before: tuple[str, ...],
) -> list[Stage]:
    """What a config asks for besides the audit, each on its own, so that none of them repeats the audit."""
    from stillage.experiment.ask import given_away
    from stillage.experiment.attack_settings import attacks_of
    from stillage.experiment.blocks_stage import blocks
    from stillage.experiment.dp_stage import dp
    from stillage.experiment.exposure_stage import exposure
    from stillage.experiment.signal_stage import has_signal, signal

    config, stages = context.config, []
    needed = {"data", "tokenizer", *(spec.name for spec in context.models)}
    before = tuple(name for name in before if name in needed)
    asked = plain(config.audit)
    away = given_away(attacks_of(config.audit), config.audit.prefix_records)
    kept: dict[str, Any] = (
        {"prefix_records": away} if away else {}
    )  # they leave the evaluated records
    if config.audit.blocks:
        names = ("block_records", "max_records", "level", "mope_sigma", "mope_copies", "mope_noise")
        stages.append(
            Stage(
                name="blocks",
                inputs=before,
                outside=models,
                schema=SCHEMAS["blocks"],
                settings={
                    "given": given,
                    "seed": config.seed,
                    **{name: asked[name] for name in names},
                    **kept,
                },
                work=partial(blocks, context),
            )
        )
    if has_signal(context.specs, config.audit.signal_records):
        stages.append(
            Stage(
                name="signal",
                inputs=(*before, "audit"),
                outside=models,
                schema=SCHEMAS["signal"],
                settings={
                    "seed": config.seed,
                    **{name: asked[name] for name in (*SIGNAL, "attacks", "level")},
                },
                work=partial(signal, context),
            )
        )
    if config.audit.exposure_records:
        names = (*EXPOSURE, "extract", "max_records", "level")
        stages.append(
            Stage(
                name="exposure",
                inputs=before,
                outside=models,
                schema=SCHEMAS["exposure"],
                settings={
                    "given": given,
                    "seed": config.seed,
                    **{name: asked[name] for name in names},
                    **kept,
                },
                work=partial(exposure, context),
            )
        )
    if config.audit.dp:
        stages.append(
            Stage(
                name="dp",
                inputs=("data", "audit"),
                schema=SCHEMAS["dp"],
                settings={name: asked[name] for name in (*DP, "attacks", "level")},
                work=partial(dp, context),
            )
        )
    return stages


def shadow_stages(context: Context) -> list[Stage]:
    """The design of the shadow pipelines and their trainings; none where none are asked for."""
    config = context.config
    if not config.audit.shadows:
        return []
    design = Stage(
        name=DESIGN,
        settings={"shadows": config.audit.shadows, "seed": config.seed},
        inputs=("data",),
        work=partial(make_design, context),
        schema=SCHEMAS[DESIGN],
    )
    return [design, *(train_stage(context, spec) for spec in context.specs if spec.shadow)]


def train_stage(context: Context, spec: ModelSpec) -> Stage:
    """The stage that trains one model."""
    from stillage.experiment.train_stage import train_model

    assert spec.train is not None
    before = [
        other
        for other in context.specs
        if other.name in (spec.teacher, spec.pruned_from, spec.starts_from)
    ]
    teachers = [other for other in before if other.name != spec.starts_from]
    outside = outside_model(spec.start)
    for teacher in teachers:
        outside |= {} if teacher.is_trained else outside_model(teacher.start)
    beside: dict[str, object] = {}
    if spec.pruned_from or spec.base is not None:
        beside["pruned"] = spec.pruned_from
    if spec.base is not None:
        beside["base"] = plain(spec.base)
        outside |= outside_model(spec.base)
    if spec.starts_from:
        beside["starts_from"] = spec.starts_from
    if spec.shadow:
        beside["shadow"] = spec.shadow
    if spec.imitates:
        beside["self_prompt_texts"] = context.config.audit.self_prompt_texts
    if reads_corpus(context.config, spec):
        beside["lm"] = plain(context.config.lm)
        if not Path(context.config.lm.path).exists():
            raise DataError(
                "The plain-text corpus is missing.",
                f"lm.path: {context.config.lm.path}",
                "Check the path.",
            )
        outside |= outside_folder(context.config.lm.path)
    return Stage(
        name=spec.name,
        settings={
            "start": plain(spec.start),
            "train": train_settings(spec.train),
            "method": spec.method,
            "params": dict(spec.params),
            "trained_on": spec.trained_on,
            "seed": context.config.seed,
            "teacher": [plain(teacher.start) for teacher in teachers],
            **beside,
            **deciding(context.plugins, [spec.method, *dict(spec.params).values()]),
        },
        inputs=("data", "tokenizer", *(other.name for other in before if other.is_trained)),
        work=partial(train_model, context, spec),
        outside=outside,
        schema=SCHEMAS["train"],
    )


def plain(value: object) -> dict[str, Any]:
    """A group of settings as a JSON-able dict."""
    found = to_plain(value)
    assert isinstance(found, dict)
    return found


def without(group: object, *names: str) -> dict[str, Any]:
    """A group of settings, less those that change speed or appearance but no result."""
    return {name: value for name, value in plain(group).items() if name not in names}


def train_settings(options: TrainConfig) -> dict[str, Any]:
    """The training settings that decide the weights."""
    return without(options, "checkpoint_every_s", "gradient_checkpointing")


def check_needed_part(config: Config, attacks: Mapping[str, Attack]) -> None:
    """ConfigError for an attack on the needed part of a response where nobody said where that ends."""
    asked = [
        name
        for name in config.audit.attacks
        if name in attacks and any(query.transform == "needed" for query in attacks[name].queries)
    ]
    if asked and not config.data.needed_until:
        raise ConfigError(
            "An attack reads the needed part of a response, and nobody said where that ends.",
            f"attacks: {' '.join(asked)}; data.needed_until: ''",
            "Set data.needed_until to the text that ends the needed part, or leave out the attack.",
        )


def needed_until(config: Config) -> dict[str, str]:
    """Where the needed part of a response ends, for the stages that measure that part; nothing where nobody said."""
    return {"needed_until": config.data.needed_until} if config.data.needed_until else {}


def data_settings(config: Config) -> dict[str, Any]:
    """The data settings that decide the split, with the column that the extraction needs."""
    return without(config.data, "needed_until") | {"extract": "".join(kept_columns(config))}


def kept_columns(config: Config) -> tuple[str, ...]:
    """The columns that are read besides data.slice_by: the one whose value must be recited."""
    return (config.audit.extract,) if config.audit.extract else ()
