"""Audit stages: gather records, models and settings of the run; keep the results."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.attack_settings import attacks_of
from stillage.audit.audit_records import AuditRecords, choose_records
from stillage.audit.given import AuditModel, AuditModels, AuditSettings, TrainingFacts
from stillage.errors import ConfigError
from stillage.experiment.inputs import (
    base_result,
    load_untrained,
    model_source,
    start_of,
    tokenizer_of,
    use_threads,
)
from stillage.experiment.specs import OUTSIDE, ModelSpec
from stillage.measures.measure import Measure, MeasureInput, check_measured
from stillage.measures.params import measure_params
from stillage.run.audit_config import AuditConfig
from stillage.run.folder import read_table, sha256_file, write_json, write_table
from stillage.run.results import write_results
from stillage.run.stages import read_manifest

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

    from stillage.data.split import Split
    from stillage.experiment.context import Context

HARMLESS = ("batch_tokens",)
"""Settings of an audit that decide how fast it is, and no number."""


def audit(context: Context, folder: Path) -> None:
    """Audit every model of a run, and write the tables, the results and the verdict."""
    from stillage.audit.run_audit import run_audit
    from stillage.data.split import read_split
    from stillage.experiment.data_stage import check_split

    use_threads(context)
    split = read_split(context.run / "data")
    check_split(context, split)
    records = audit_records(context, split)
    audited = run_audit(
        records, run_models(context), audit_settings(context), training_facts(context)
    )
    for name in ("scores", "extraction", "memorization", "counterfactual"):
        if (table := getattr(audited, name)) is not None:
            write_table(folder / f"{name}.parquet", table)
    drawn = {"nonmembers": records.prefixes.nonmembers, "private": records.prefixes.members}
    if any(drawn.values()):
        ids = {part: [record.id for record in prefix] for part, prefix in drawn.items()}
        write_json(folder / "prefix.json", ids)
    write_results(folder / "results.parquet", audited.results)
    write_json(folder / "validity.json", audited.validity)


def make_measure(context: Context, measure: Measure, folder: Path) -> None:
    """Compute one measure of a run, and write its tables and results."""
    from pyarrow import ArrowException

    from stillage.data.split import read_split

    use_threads(context)
    specs = context.asked if measure.asks_models else ()
    models = tuple(audit_model(context, spec) for spec in specs)
    split = read_split(context.run / "data")

    def choose() -> AuditRecords:
        records = audit_records(context, split)
        return records if measure.evaluates else replace(records, records=(), parts=())

    given = MeasureInput(
        split=split,
        choose=choose,
        models=tuple(model for model in models if model.name != OUTSIDE),
        elsewhere=tuple(model for model in models if model.name == OUTSIDE),
        settings=replace(
            audit_settings(context),
            audit=only(context.config.audit, measure.reads),
            data=replace(context.config.data, needed_until=""),  # not a part of its key
            stage=measure.name,
            base=base_result(context, measure.name),
        ),
        params=measure_params(context.config.audit).get(measure.name),
        read=partial(read_needed, context.run, measure),
    )
    measured = check_measured(measure.name, measure.run(given))
    try:
        for name, table in measured.tables.items():
            write_table(folder / f"{name}.parquet", table)
        write_results(folder / "results.parquet", measured.results)
    except (ArrowException, OverflowError) as error:
        raise ConfigError(
            f"The measure {measure.name} gave back what cannot be kept.",
            f"{type(error).__name__}: {error}",
            "Give columns and numbers that Parquet can hold.",
        ) from error


def read_needed(run: Path, measure: Measure, name: str) -> pa.Table:
    """Read a table of a stage that the measure needs; ConfigError for another stage."""
    if name.partition("/")[0] not in measure.needs:
        raise ConfigError(
            f"The measure {measure.name} reads a stage that it does not name.",
            f"read: {name}; needs: {', '.join(measure.needs) or 'none'}",
            "Name the stage in `needs`, so that a change of it is seen.",
        )
    return read_table(run / f"{name}.parquet")


def only(audit: AuditConfig, names: tuple[str, ...]) -> AuditConfig:
    """Keep the named settings and HARMLESS, so that only what is in its key decides."""
    kept = {name: getattr(audit, name) for name in (*names, *HARMLESS)}
    return replace(AuditConfig(), **kept)


def audit_settings(context: Context) -> AuditSettings:
    """Gather how the run's audit is made."""
    config = context.config
    return AuditSettings(
        audit=config.audit,
        data=config.data,
        seed=config.seed,
        base=base_result(context, "audit"),
        cache=context.cache,
        progress=context.progress,
    )


def audit_records(context: Context, split: Split) -> AuditRecords:
    """Choose the records that the run's audit and its measures evaluate."""
    audit = context.config.audit
    return choose_records(
        split, attacks_of(audit), audit, context.config.seed, learns_public=learns_public(context)
    )


def learns_public(context: Context) -> bool:
    """Whether a model of the run is trained on the public records."""
    return any(spec.trained_on == "public" for spec in context.specs)


def run_models(context: Context) -> AuditModels:
    """Name the finished models of a run, and those that serve its attacks."""
    return AuditModels(
        audited=tuple(audit_model(context, spec) for spec in context.asked),
        self_prompted={
            spec.imitates: audit_model(context, spec) for spec in context.specs if spec.imitates
        },
        shadows=tuple(audit_model(context, spec) for spec in context.specs if spec.shadow),
    )


def audit_model(context: Context, spec: ModelSpec) -> AuditModel:
    """Say where one model of a run is, and where its training started."""
    return AuditModel(
        name=spec.name,
        source=model_source(context, spec),
        load_tokenizer=partial(tokenizer_of, context, spec),
        is_trained=spec.is_trained,
        load_start=partial(load_start, context, spec) if spec.is_trained else None,
    )


def load_start(context: Context, spec: ModelSpec) -> PreTrainedModel:
    """Load the weights that a model's training started from."""
    from stillage.experiment.train_stage import pruned_base

    tokenizer = tokenizer_of(context, spec)
    if (cut := pruned_base(context, spec, tokenizer)) is not None:
        return cut
    kind = "teacher" if spec.name.startswith("teacher") else "student"
    return load_untrained(context, start_of(context, spec), tokenizer, kind)


def training_facts(context: Context) -> TrainingFacts:
    """Read what the run's stages wrote down of their training."""
    trains = any(spec.is_trained for spec in context.specs)
    trained = [spec for spec in context.specs if spec.name == "student" and spec.is_trained]
    is_cut = any(spec.pruned_from for spec in trained)
    untrained = None
    if trained and not is_cut:
        untrained = partial(load_untrained, context, trained[0].start, kind="student")
    return TrainingFacts(
        met=ids_by_stage(context),
        fingerprints=partial(fingerprints, context) if trains else None,
        learns_public=learns_public(context),
        reads_corpus=bool(context.config.lm.path),
        load_untrained=untrained,
        why_no_untrained="it is cut from its teacher" if is_cut else "no student was trained here",
    )


def ids_by_stage(context: Context) -> dict[str, list[str]]:
    """List the ids that each stage of this run learned from, as it wrote them down."""
    found: dict[str, list[str]] = {}
    for name in ("tokenizer", *(spec.name for spec in context.specs if spec.is_trained)):
        path = context.run / name / "provenance.parquet"
        if path.is_file():
            found[name] = read_table(path).column("id").to_pylist()
    return found


def fingerprints(context: Context) -> tuple[dict[str, str], dict[str, str]]:
    """Return each file's sha256, then and now: records, tokenizer, trained models."""
    expected: dict[str, str] = {}
    for name in ("data", "tokenizer", *(spec.name for spec in context.specs if spec.is_trained)):
        manifest = read_manifest(context.run / name)
        for path, digest in manifest["files"].items() if manifest is not None else ():
            if name == "data" or path.startswith(("model/", "tokenizer")):
                expected[f"{name}/{path}"] = digest
    now = {path: context.run / path for path in expected}
    return expected, {
        path: sha256_file(file) if file.is_file() else "nothing" for path, file in now.items()
    }
