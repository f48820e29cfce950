"""The last stages of a mosaic run: what every point is worth, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.experiment.inputs import base_result
from stillage.experiment.mosaic_inputs import canary_facts
from stillage.experiment.mosaic_models import names_of
from stillage.experiment.mosaic_settings import (
    BOOKS,
    BOOKS_FILE,
    LEDGER_FILE,
    MOSAIC,
    POINTS_FILE,
    VARIATIONS_FILE,
    variations_name,
)
from stillage.mosaic.asked import asked_experiments, conditions_of, teacher_condition
from stillage.mosaic.condition import Arm, Condition, ExperimentPoint, MosaicExperiment
from stillage.mosaic.measured_worth import measured_worth
from stillage.mosaic.names import condition_name
from stillage.run.folder import read_table, write_json, write_with_metadata
from stillage.run.parse import to_plain

WORTH_FILE = "worth.json"
"""What `stillage corpus policy --rho` reads."""

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.experiment.context import Context
    from stillage.mosaic.condition_means import ConditionTables


def do_compare(context: Context, folder: Path) -> None:
    """Say of every point what its near-copies are worth."""
    import pyarrow as pa

    from stillage.mosaic.compare_points import compare_points, point_results
    from stillage.run.results import write_results

    config = context.config
    asked = asked_experiments(config)
    found = {one: condition_tables(context, one) for one in conditions_of(asked)}
    tables = [
        compare_points(
            one.experiment.name,
            one.points,
            found,
            copies=one.copies,
            level=config.audit.level,
            resamples=config.mosaic.resamples,
            seed=config.seed,
        )
        for one in asked
    ]
    about = {
        "experiments": json.dumps([experiment_facts(one.experiment, one.copies) for one in asked]),
        "run": json.dumps(run_facts(context)),
        "conditions": json.dumps({condition_name(one): curve_name(one) for one in found}),
    }
    base = replace(base_result(context, MOSAIC), level=config.audit.level)
    table = pa.concat_tables(tables).replace_schema_metadata(about)
    write_with_metadata(folder / POINTS_FILE, table)
    length = canary_facts(context)["length"]
    if worth := measured_worth(table.to_pylist(), config.mosaic.attacks[0], length):
        write_json(folder / WORTH_FILE, worth)
    write_results(folder / "results.parquet", point_results(table, base))


def condition_tables(context: Context, condition: Condition) -> ConditionTables:
    """Read what a condition left behind."""
    from stillage.mosaic.condition_means import ConditionTables

    name = condition_name(condition)
    run = context.run

    def optional(path: Path) -> pa.Table | None:
        return read_table(path) if path.is_file() else None

    # a student's canaries were injected for its teacher
    taught = condition_name(teacher_condition(condition))
    variations = None
    if condition.kind is not None:
        kind = variations_name(condition.kind, condition.arm)
        variations = read_table(run / kind / VARIATIONS_FILE)
    return ConditionTables(
        stage=name,
        scores=read_table(run / name / "scores.parquet"),
        answers=optional(run / name / "answers.parquet"),
        ledger=read_table(run / taught / LEDGER_FILE),
        variations=variations,
    )


def curve_name(condition: Condition) -> str:
    """Name the condition of one exact copy where a condition's curve begins."""
    return condition_name(ExperimentPoint(condition=condition).curve)


def experiment_facts(experiment: MosaicExperiment, copies: int) -> dict[str, Any]:
    """Return what the report says of an experiment."""
    names = ("name", "title", "axis", "shows", "note", "published")
    return {name: getattr(experiment, name) for name in names} | {"copies": copies}


def run_facts(context: Context) -> dict[str, Any]:
    """Return what the report says of the run."""
    from stillage.models.limits import device_name

    config, mosaic = context.config, context.config.mosaic
    start = names_of(config).untrained(Arm())
    shape = f"{start.layers} layers x {start.width}, {start.heads} heads, from scratch"
    return {
        "model": start.source or shape,
        "tokenizer": config.tokenizer.path or start.source or "fitted on the other documents",
        "canaries": canary_facts(context),
        "hosts": sum(read_table(context.run / BOOKS / BOOKS_FILE)["is_host"].to_pylist()),
        "seed": config.seed,
        "copies": mosaic.copies,
        "attacks": list(mosaic.attacks),
        "level": config.audit.level,
        "resamples": mosaic.resamples,
        "inject": mosaic.inject,
        "block_tokens": mosaic.block_tokens,
        "train": to_plain(config.teacher_train),
        "device": device_name(),
    }


def do_page(context: Context, folder: Path) -> None:
    """Write the page of the run."""
    from stillage.report.mosaic_page import write_mosaic_report

    write_mosaic_report(context.run, title=context.run.name, run_id=context.run_id)
