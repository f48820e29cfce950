"""The stages that a config asks for, and what decides the content of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from stillage import __version__
from stillage.audit.attack_settings import attacks_of, with_used_settings
from stillage.audit.audit_records import given_away
from stillage.errors import ConfigError, DataError
from stillage.experiment import data_stage, evaluate_stage
from stillage.experiment.audit_stage import audit, make_measure
from stillage.experiment.context import Context, kept_columns
from stillage.experiment.mosaic_checks import is_mosaic
from stillage.experiment.mosaic_plan import mosaic_plan, page_stage
from stillage.experiment.report_stage import REPORT, report, secret_of
from stillage.experiment.shadows import DESIGN, make_design
from stillage.experiment.specs import ModelSpec, reads_corpus
from stillage.experiment.stage_settings import NOT_THE_AUDITS, as_plain, train_key, without
from stillage.experiment.train_stage import train_model
from stillage.measures import MEASURES
from stillage.measures.measure import Measure, asked_measures
from stillage.measures.params import measure_params
from stillage.models.outside import (
    outside_data,
    outside_folder,
    outside_model,
    outside_tokenizer,
    tokenizer_source,
)
from stillage.models.source import check_place
from stillage.plugins.plugin import deciding
from stillage.run.config import Config, ModelConfig
from stillage.run.stages import Stage

SCHEMAS = {"data": 5, "tokenizer": 1, "train": 1, DESIGN: 1, "evaluate": 4, "audit": 7, "report": 4}
"""Raised when the code's meaning changes: results of older code are not taken for the new."""


def plan(context: Context) -> list[Stage]:
    """List the stages in order, inputs first; ModelError for a given model not there."""
    config = context.config
    if is_mosaic(config):
        return mosaic_plan(context)
    stages = [data_plan(context)]
    if any(not spec.start.source or spec.is_trained for spec in context.specs):
        stages.append(tokenizer_plan(context))
    for spec in context.specs:
        if spec.is_trained and not spec.shadow and not spec.imitates:
            stages.append(train_stage(context, spec))
    for spec in context.specs if "distill" not in config.stages else ():
        if spec.start.path:
            check_place(spec.start.path, spec.start.revision)
    if "evaluate" in config.stages:
        stages.append(evaluate_plan(context, [stage.name for stage in stages]))
    if "audit" in config.stages:
        before = [stage.name for stage in stages if stage.name != "evaluate"]
        others = shadow_stages(context)
        others += [train_stage(context, spec) for spec in context.specs if spec.imitates]
        stages += others
        stages.append(audit_plan(context, [*before, *(stage.name for stage in others)]))
        names = [spec.name for spec in context.specs]
        for measure in asked_measures(MEASURES, config, names):
            stages.append(measure_plan(context, measure, before))
    return [*stages, report_plan(context, [stage.name for stage in stages])]


def data_plan(context: Context) -> Stage:
    """Plan the reading and drawing of the records."""
    config = context.config
    extracted = {"extract": "".join(kept_columns(config))}
    return Stage(
        name="data",
        settings={
            "data": without(config.data, "needed_until") | extracted,
            "seed": config.seed,
            **({"audits": "audit" in config.stages} if config.data.train_on else {}),
        },
        work=partial(data_stage.make_data, context),
        outside=outside_data(config),
        schema=SCHEMAS["data"],
    )


def tokenizer_plan(context: Context) -> Stage:
    """Plan the tokenizer, given or new."""
    path, _ = tokenizer_source(context.config)
    return Stage(
        name="tokenizer",
        settings={"tokenizer": as_plain(context.config.tokenizer), "from": path},
        inputs=("data",),
        work=partial(data_stage.make_tokenizer, context),
        outside=outside_tokenizer(path),
        schema=SCHEMAS["tokenizer"],
    )


def evaluate_plan(context: Context, before: Sequence[str]) -> Stage:
    """Plan the answers of all models."""
    config = context.config
    models, given = given_models(context.models)
    return Stage(
        name="evaluate",
        inputs=tuple(before),
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


def audit_plan(context: Context, before: Sequence[str]) -> Stage:
    """Plan the attacks on all models."""
    config = context.config
    used = with_used_settings(config.audit)
    if used.masked_model:
        check_place(used.masked_model, used.masked_revision)
    models, given = given_models(context.asked)
    return Stage(
        name="audit",
        inputs=tuple(before),
        outside=models | outside_model(ModelConfig(path=used.masked_model)),
        schema=SCHEMAS["audit"],
        settings={
            "audit": without(used, *NOT_THE_AUDITS),
            "given": given,
            "seed": config.seed,
            **deciding(context.plugins, config.audit.attacks),
            **needed_until(config),
        },
        work=partial(audit, context),
    )


def measure_plan(context: Context, measure: Measure, before: Sequence[str]) -> Stage:
    """Plan one measure, on its own, so that none repeats the audit or another.

    Its key is what it is given: the settings that it reads, how its records are chosen, its models.
    """
    config = context.config
    check_measure_needs(measure, [*before, "audit"])
    models, given = given_models(context.asked) if measure.asks_models else ({}, {})
    needed = {"data", "tokenizer", *(spec.name for spec in context.models)}
    inputs = [name for name in before if name in needed] if measure.asks_models else ["data"]
    asked = as_plain(config.audit)
    key: dict[str, Any] = {name: asked[name] for name in measure.reads} | {"seed": config.seed}
    if measure.params is not None:
        key["params"] = as_plain(measure_params(config.audit)[measure.name])
    if measure.asks_models:
        key["given"] = given
    if measure.evaluates:
        away = given_away(attacks_of(config.audit), config.audit.prefix_records)
        key["records"] = {"max_records": config.audit.max_records, **away}
    return Stage(
        name=measure.name,
        inputs=(*inputs, *measure.needs),
        outside=models,
        schema=measure.schema,
        settings=key | deciding(context.plugins, [measure.name]),
        work=partial(make_measure, context, measure),
    )


def check_measure_needs(measure: Measure, stages: Sequence[str]) -> None:
    """ConfigError for a measure that needs a stage which this run does not have."""
    if unknown := [name for name in measure.needs if name not in stages]:
        raise ConfigError(
            f"The measure {measure.name} needs a stage that comes not before it in this run.",
            f"needs: {', '.join(unknown)}; there are: {', '.join(stages)}",
            "Name others in `needs`, or leave the measure out.",
        )


def report_plan(context: Context, inputs: Sequence[str]) -> Stage:
    """Plan the page; inputs: every other stage of the run."""
    if is_mosaic(context.config):
        return page_stage(context, inputs)
    look = as_plain(context.config.report)
    return Stage(
        name=REPORT,
        inputs=tuple(inputs),
        schema=SCHEMAS[REPORT],
        secret=secret_of(context.run, look),
        settings={"report": look, "version": __version__},
        work=partial(report, context),
    )


def keyed(context: Context, stages: Sequence[Stage]) -> list[Stage]:
    """Return the stages, the report with the key of its run, made where one is needed."""
    from stillage.report.private import run_key

    has_no_key = context.config.report.show_text or is_mosaic(context.config)
    if has_no_key or all(stage.name != REPORT for stage in stages):
        return list(stages)
    run_key(context.run)
    return [
        report_plan(context, stage.inputs) if stage.name == REPORT else stage for stage in stages
    ]


def given_models(specs: Sequence[ModelSpec]) -> tuple[dict[str, str], dict[str, dict[str, Any]]]:
    """Return the hashes of all files of the given models, and where each starts."""
    given = [spec for spec in specs if not spec.is_trained]
    models = files_of(spec.start for spec in given)
    return models, {spec.name: as_plain(spec.start) for spec in given}


def files_of(starts: Iterable[ModelConfig]) -> dict[str, str]:
    """Return the sha256 of every file that the starts name, by path."""
    return {path: digest for start in starts for path, digest in outside_model(start).items()}


def shadow_stages(context: Context) -> list[Stage]:
    """Plan the shadow pipelines' design and trainings, if any are asked for."""
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
    """Plan the training of one model."""
    assert spec.train is not None
    names = (spec.teacher, spec.pruned_from, spec.starts_from)
    before = [other for other in context.specs if other.name in names]
    teachers = [other for other in before if other.name != spec.starts_from]
    bases = [] if spec.base is None else [spec.base]
    given = [teacher.start for teacher in teachers if not teacher.is_trained]
    outside = files_of([spec.start, *given, *bases])
    beside = {
        "pruned": spec.pruned_from if spec.pruned_from or bases else None,
        "base": as_plain(spec.base) if bases else None,
        "starts_from": spec.starts_from or None,
        "shadow": spec.shadow or None,
        "self_prompt_texts": context.config.audit.self_prompt_texts if spec.imitates else None,
    }
    if reads_corpus(context.config, spec):
        lm = context.config.lm
        beside["lm"] = as_plain(lm)
        if not Path(lm.path).exists():
            what = "The plain-text corpus is missing."
            raise DataError(what, f"lm.path: {lm.path}", "Check the path.")
        outside |= outside_folder(lm.path)
    return Stage(
        name=spec.name,
        settings={
            "start": as_plain(spec.start),
            "train": train_key(spec.train),
            "method": spec.method,
            "params": dict(spec.params),
            "trained_on": spec.trained_on,
            "seed": context.config.seed,
            "teacher": [as_plain(teacher.start) for teacher in teachers],
            **{name: value for name, value in beside.items() if value is not None},
            **deciding(context.plugins, [spec.method, *dict(spec.params).values()]),
        },
        inputs=("data", "tokenizer", *(other.name for other in before if other.is_trained)),
        work=partial(train_model, context, spec),
        outside=outside,
        schema=SCHEMAS["train"],
    )


def needed_until(config: Config) -> dict[str, str]:
    """Return the setting data.needed_until for stages that measure that part, if set."""
    return {"needed_until": config.data.needed_until} if config.data.needed_until else {}
