"""The stages of a mosaic run: one for each training, and what they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from stillage import __version__
from stillage.audit.attack_settings import attacks_of, used_settings
from stillage.experiment import mosaic_compare, mosaic_stages
from stillage.experiment.mosaic_checks import check_mosaic
from stillage.experiment.mosaic_documents import outside_documents
from stillage.experiment.mosaic_models import MosaicModels, names_of
from stillage.experiment.mosaic_settings import (
    BOOKS,
    MASKED,
    MOSAIC,
    TOKENIZER,
    asks_for,
    asks_recital,
    attacks_of_scores,
    canaries_name,
    file_of_canaries,
    method_params,
    needs_masked,
    options_of,
    other_parties,
    temperature_of,
    variations_name,
)
from stillage.experiment.report_stage import REPORT
from stillage.experiment.stage_settings import NOT_DECIDING, as_plain, without
from stillage.models.outside import (
    outside_folder,
    outside_model,
    outside_tokenizer,
    tokenizer_source,
)
from stillage.models.source import check_place
from stillage.mosaic.asked import Asked, conditions_of, teacher_condition
from stillage.mosaic.condition import Arm, Condition
from stillage.mosaic.kinds import Kind, Paraphrase, Scanned
from stillage.mosaic.names import condition_name
from stillage.mosaic.writer import is_address
from stillage.run.config import Config, ModelConfig
from stillage.run.stages import Stage

if TYPE_CHECKING:
    from stillage.experiment.context import Context

NOT_OF_STUDENTS = (*NOT_DECIDING, "packing", "keep", "keep_checkpoints")
"""Settings of a training that decide nothing here: rows hold one text, the last weights stay."""
NOT_OF_DOCUMENTS = (*NOT_OF_STUDENTS, "validate_every", "keep_by", "keep_prompts")
"""Documents are trained on without validation."""
SCHEMAS = {
    BOOKS: 1,
    TOKENIZER: 1,
    "base": 1,
    "canaries": 1,
    MASKED: 1,
    "variations": 1,
    "condition": 1,
    "student": 1,
    MOSAIC: 1,
    REPORT: 1,
}
"""Raised when the code's meaning changes: results of older code are not taken for the new."""


def mosaic_plan(context: Context) -> list[Stage]:
    """List the stages of a mosaic run in order, inputs first.

    Errors as `check_mosaic`.
    """
    asked = check_mosaic(context.config)
    conditions = conditions_of(asked)
    models = names_of(context.config)
    stages: dict[str, Stage] = {}

    def add(stage: Stage) -> None:
        stages.setdefault(stage.name, stage)

    add(books_stage(context))
    add(tokenizer_stage(context))
    counts = variation_counts(conditions, context.config.mosaic.copies)
    taught = {teacher_condition(one) for one in conditions if one.method}
    for condition in conditions:
        arm = condition.arm
        if base := models.base(arm):
            add(base_stage(context, base, models.untrained(arm)))
        if base := models.canaries_base(arm):
            add(base_stage(context, base, models.untrained(Arm())))
        add(canaries_stage(context, arm, models, conditions))
        if asks_for(context.config, "neighbours"):
            add(masked_stage(context))
        if condition.kind is not None:
            if needs_masked(condition.kind):
                add(masked_stage(context))
            count = counts[variations_name(condition.kind, arm)]
            add(variations_stage(context, condition.kind, arm, count))
        if not condition.method:
            keeps = context.config.mosaic.keep_models or condition in taught
            add(condition_stage(context, condition, models, keeps_model=keeps))
            continue
        if base := models.student_base():
            add(base_stage(context, base, models.untrained_student()))
        add(student_stage(context, condition, models))
    add(compare_stage(context, asked, conditions))
    add(page_stage(context, list(stages)))
    return list(stages.values())


def books_stage(context: Context) -> Stage:
    """Plan the reading of the documents, and the draw of those that hold canaries."""
    mosaic = context.config.mosaic
    names = ("books", "books_revision", "text_column", "title_column", "titles", "max_documents")
    settings: dict[str, Any] = {name: getattr(mosaic, name) for name in names}
    if not mosaic.titles:  # titles that are named are no draw, and seeds of a sweep share them
        settings |= {"hosts": mosaic.hosts, "seed": context.config.seed}
    outside = outside_documents(mosaic.books)
    if mosaic.titles and mosaic.titles != "published":
        outside |= outside_folder(mosaic.titles)
    return Stage(
        name=BOOKS,
        settings=settings,
        outside=outside,
        work=partial(mosaic_stages.do_books, context),
        schema=SCHEMAS[BOOKS],
    )


def tokenizer_stage(context: Context) -> Stage:
    """Plan the trained model's tokenizer.

    Given, or fitted on the documents without canaries.
    """
    path, revision = tokenizer_source(replace(context.config, student=ModelConfig()))
    own = {} if path else {"vocab_size": context.config.tokenizer.vocab_size}
    return Stage(
        name=TOKENIZER,
        settings={"from": path, "revision": revision, **own},
        inputs=() if path else (BOOKS,),
        outside=outside_tokenizer(path),
        work=partial(mosaic_stages.do_tokenizer, context),
        schema=SCHEMAS[TOKENIZER],
    )


def base_stage(context: Context, name: str, start: ModelConfig) -> Stage:
    """Plan the passes of a model from scratch over the documents without canaries."""
    mosaic = context.config.mosaic
    return Stage(
        name=name,
        settings={
            "start": as_plain(start),
            "train": without(mosaic_stages.base_options(context.config), *NOT_OF_DOCUMENTS),
            "block_tokens": mosaic.block_tokens,
            "seed": mosaic.pretrain_seed,
        },
        inputs=(BOOKS, TOKENIZER),
        outside=outside_model(start),
        work=partial(mosaic_stages.do_base, context, start),
        schema=SCHEMAS["base"],
    )


def canaries_stage(
    context: Context, arm: Arm, models: MosaicModels, conditions: Sequence[Condition]
) -> Stage:
    """Plan an arm's canaries: sampled, those of a file, or of a scan."""
    config = context.config
    near = [one for one in conditions if arm.scan and one.arm == arm and one.kind is not None]
    kinds = [one.kind for one in near if isinstance(one.kind, Scanned)]
    count = max((one.near for one in near), default=0)
    options = config.mosaic.canaries
    file = file_of_canaries(config, arm)
    writer = ModelConfig() if file else models.writer()
    base = "" if file else models.canaries_base(arm)
    sampled = {**as_plain(options), "sampling_temperature": temperature_of(config, arm)}
    scanned = {
        "scanned": list(map(asdict, kinds)),
        "count": count,
        "max_jaccard": options.max_jaccard,
    }
    return Stage(
        name=canaries_name(arm),
        settings={
            "canaries": scanned if kinds else {"file": file} if file else sampled,
            "writer": base or as_plain(writer),
            "seed": config.seed,
        },
        inputs=(BOOKS, TOKENIZER, *([base] if base else [])),  # they are looked for in the books
        outside=outside_folder(given) if (given := arm.scan or file) else outside_model(writer),
        work=partial(mosaic_stages.do_canaries, context, arm, kinds, count),
        schema=SCHEMAS["canaries"],
    )


def masked_stage(context: Context) -> Stage:
    """Plan the masked model: given, or a small one trained on the other documents."""
    mosaic = context.config.mosaic
    given = ModelConfig(path=mosaic.masked_model, revision=mosaic.masked_revision)
    if given.path:
        check_place(given.path, given.revision)
    return Stage(
        name=MASKED,
        settings={"from": given.path, "revision": given.revision, "seed": mosaic.pretrain_seed},
        inputs=() if given.path else (BOOKS, TOKENIZER),
        outside=outside_model(given),
        work=partial(mosaic_stages.do_masked, context),
        schema=SCHEMAS[MASKED],
    )


def variation_counts(conditions: Sequence[Condition], copies: int) -> dict[str, int]:
    """Count the near-copies in each stage of them.

    As many as its largest condition needs. But for those that others write, copies - 1 at least: an
    experiment that is added later and needs as many then leaves the near-copies of a smaller one,
    and all trained on them, as they are.
    """
    counts: dict[str, int] = {}
    for condition in conditions:
        kind = condition.kind
        if kind is not None:
            name = variations_name(kind, condition.arm)
            least = 0 if isinstance(kind, Paraphrase | Scanned) else copies - 1
            counts[name] = max(condition.near, least, counts.get(name, 0))
    return counts


def variations_stage(context: Context, kind: Kind, arm: Arm, count: int) -> Stage:
    """Plan the near-copies of a kind."""
    masked = (MASKED,) if needs_masked(kind) else ()
    outside: dict[str, str] = {}
    if isinstance(kind, Paraphrase):
        writer = ModelConfig(path=kind.writer, revision=kind.writer_revision)
        outside = {} if is_address(kind.writer) else outside_model(writer)
    elif isinstance(kind, Scanned):
        outside = outside_folder(kind.scan)
    return Stage(
        name=variations_name(kind, arm),
        settings={
            "kind": {"name": type(kind).__name__, **asdict(kind)},
            "count": count,
            "seed": context.config.seed,
        },
        inputs=(TOKENIZER, canaries_name(arm), *masked),
        outside=outside,
        work=partial(mosaic_stages.do_variations, context, kind, arm, count),
        schema=SCHEMAS["variations"],
    )


def scores_key(config: Config) -> dict[str, Any]:
    """Say what decides the scores of a condition: its attacks, and what they ask with."""
    attacks = attacks_of(replace(config.audit, attacks=attacks_of_scores(config)))
    names = used_settings(attacks) - {"masked_model", "masked_revision"}  # mosaic's own is asked
    names |= {"reference", "reference_revision"} if other_parties(config) else set()
    audit = {name: getattr(config.audit, name) for name in sorted(names)}
    return {"attacks": sorted({*config.mosaic.attacks}), "audit": audit}


def condition_stage(
    context: Context, condition: Condition, models: MosaicModels, *, keeps_model: bool
) -> Stage:
    """Plan one training on documents that hold canaries, and what is measured of it."""
    config, arm = context.config, condition.arm
    mosaic, base = config.mosaic, models.base(arm)
    start = models.untrained(arm)
    inputs = [BOOKS, TOKENIZER, canaries_name(arm), *([base] if base else [])]
    if condition.kind is not None:
        inputs.append(variations_name(condition.kind, arm))
    if asks_for(config, "neighbours"):
        inputs.append(MASKED)
    return Stage(
        name=condition_name(condition),
        settings={
            "condition": {"exact": condition.exact, "near": condition.near},
            "start": as_plain(start),
            **({} if base or start.source else {"weights_seed": mosaic.pretrain_seed}),
            "train": without(options_of(config, arm), *NOT_OF_DOCUMENTS),
            "block_tokens": mosaic.block_tokens,
            "inject": mosaic.inject,
            "monitor_every": mosaic.monitor_every,
            "recites": asks_recital(condition),
            "seed": config.seed,
            **scores_key(config),
        },
        inputs=tuple(inputs),
        outside=outside_model(start) | outside_model(models.reference()),
        kept=("model",) if keeps_model else (),
        work=partial(mosaic_stages.do_condition, context, condition, keeps_model),
        schema=SCHEMAS["condition"],
    )


def student_stage(context: Context, condition: Condition, models: MosaicModels) -> Stage:
    """Plan a student of the model that a condition trained."""
    config = context.config
    mosaic, base = config.mosaic, models.student_base()
    start = models.untrained_student()
    names = ("student_start", "student_reads", "student_windows", "student_prompt_tokens")
    inputs = [BOOKS, TOKENIZER, canaries_name(condition.arm)]
    inputs += [condition_name(teacher_condition(condition)), *([base] if base else [])]
    inputs += [MASKED] if asks_for(config, "neighbours") else []
    return Stage(
        name=condition_name(condition),
        settings={
            "method": condition.method,
            "params": dict(method_params(config, condition.method)),
            "start": as_plain(start),
            **({} if base or start.source else {"weights_seed": mosaic.pretrain_seed}),
            "train": without(config.student_train, *NOT_OF_STUDENTS),
            **{one: getattr(mosaic, one) for one in names},
            "student_response_tokens": mosaic.student_response_tokens,
            "monitor_every": mosaic.monitor_every,
            "seed": config.seed,
            **scores_key(config),
        },
        inputs=tuple(inputs),
        outside=outside_model(start) | outside_model(models.reference()),
        kept=("model",) if mosaic.keep_models else (),
        work=partial(mosaic_stages.do_student, context, condition),
        schema=SCHEMAS["student"],
    )


def compare_stage(
    context: Context, asked: Sequence[Asked], conditions: Sequence[Condition]
) -> Stage:
    """Plan the comparison of all conditions: what near-copies are worth."""
    config = context.config
    names = [condition_name(condition) for condition in conditions]
    kinds = [
        variations_name(condition.kind, condition.arm)
        for condition in conditions
        if condition.kind is not None
    ]
    return Stage(
        name=MOSAIC,
        settings={
            "experiments": {
                one.experiment.name: [asdict(point) for point in one.points] for one in asked
            },
            "copies": {one.experiment.name: one.copies for one in asked},
            "attacks": list(config.mosaic.attacks),  # the first is the report's
            "resamples": config.mosaic.resamples,
            "level": config.audit.level,
            "seed": config.seed,
        },
        inputs=tuple(dict.fromkeys([BOOKS, *kinds, *names])),
        work=partial(mosaic_compare.do_compare, context),
        schema=SCHEMAS[MOSAIC],
    )


def page_stage(context: Context, before: Sequence[str]) -> Stage:
    """Plan the page."""
    return Stage(
        name=REPORT,
        inputs=tuple(before),
        settings={"version": __version__},
        work=partial(mosaic_compare.do_page, context),
        schema=SCHEMAS[REPORT],
    )
