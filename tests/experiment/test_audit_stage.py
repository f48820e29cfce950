"""What the audit's stages are given of a run: settings, models, and what its stages wrote down."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis.strategies import sampled_from, sets

from stillage.experiment.audit_stage import (
    HARMLESS,
    audit_settings,
    fingerprints,
    ids_by_stage,
    learns_public,
    only,
    run_models,
    training_facts,
)
from stillage.experiment.context import Context, make_context
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, DistillConfig, LmConfig, ModelConfig
from stillage.run.folder import sha256_file, write_json, write_table
from stillage.run.stages import MANIFEST
from stillage.run.stop import Stop

NAMES = [field.name for field in fields(AuditConfig)]
FAR = AuditConfig(
    attacks=("loss",), level=0.5, shadows=8, block_records=3, batch_tokens=7, extract="badge"
)
GIVEN = Config(stages=("audit",), student=ModelConfig(path="s"))


def context_of(config: Config) -> Context:
    return make_context(config, Stop(), lambda *_: None)


@settings(max_examples=50, deadline=None)
@given(names=sets(sampled_from(NAMES)))
def test_a_measure_is_given_the_settings_that_it_reads_and_those_of_speed(names: set[str]) -> None:
    kept = only(FAR, tuple(names))
    for name in NAMES:
        source = FAR if name in names or name in HARMLESS else AuditConfig()
        assert getattr(kept, name) == getattr(source, name), name


def test_the_settings_of_an_audit_are_those_of_its_run(tmp_path: Path) -> None:
    config = Config(out=tmp_path, seed=5, audit=AuditConfig(level=0.9), distill=DistillConfig())
    context = context_of(config)
    found = audit_settings(context)
    assert (found.audit, found.data, found.seed) == (config.audit, config.data, 5)
    assert found.cache == tmp_path / "cache" and found.progress is context.progress
    assert (found.base.stage, found.base.seed, found.base.method) == ("audit", 5, "kd")


def test_every_model_is_named_once_and_by_what_it_serves() -> None:
    audit = AuditConfig(
        shadows=2,
        reference="r",
        attacks=("rmia", "reference_outside", "self_prompted_reference"),
    )
    config = Config(audit=audit, distill=DistillConfig(init_epochs=1))
    found = run_models(context_of(config))
    models = ["teacher", "teacher_counterfactual", "student"]
    models += ["student_counterfactual", "student_no_teacher"]
    assert [model.name for model in found.audited] == [*models, "outside_reference"]
    assert {of: model.name for of, model in found.self_prompted.items()} == {
        name: f"self_prompted_{name}" for name in models
    }
    assert sorted(model.name for model in found.shadows) == [
        "student_shadow_01",
        "student_shadow_02",
        "teacher_shadow_01",
        "teacher_shadow_02",
    ]


def test_only_a_model_that_is_trained_here_has_a_start_to_load() -> None:
    found = run_models(context_of(Config(audit=AuditConfig(reference="r", no_teacher=False))))
    starts = {model.name: model.load_start is not None for model in found.audited}
    assert starts == {model.name: model.is_trained for model in found.audited}
    assert starts["teacher"] and not starts["outside_reference"]
    (student,) = run_models(context_of(GIVEN)).audited
    assert student.load_start is None and student.source.path == "s"


def test_a_trained_model_lies_in_its_run(tmp_path: Path) -> None:
    found = run_models(context_of(Config(out=tmp_path))).audited
    assert [Path(model.source.path) for model in found] == [
        tmp_path / model.name / "model" for model in found
    ]


@pytest.mark.parametrize(
    ("config", "has_untrained", "why"),
    [
        (Config(), True, "no student was trained here"),
        (Config(student=ModelConfig(prune_teacher_to=1)), False, "it is cut from its teacher"),
        (GIVEN, False, "no student was trained here"),
        (replace(GIVEN, student=ModelConfig(), teacher=ModelConfig(path="t")), False, "no student"),
    ],
)
def test_an_untrained_student_is_there_where_one_was_trained_from_a_start_of_its_own(
    config: Config, has_untrained: bool, why: str
) -> None:
    found = training_facts(context_of(config))
    assert (found.load_untrained is not None) == has_untrained
    assert found.why_no_untrained.startswith(why)


def test_training_facts_tell_public_records_and_the_corpus_from_none() -> None:
    found = training_facts(context_of(Config()))
    assert found.learns_public and not found.reads_corpus and found.fingerprints is not None
    given_models = training_facts(context_of(GIVEN))
    assert not given_models.learns_public and given_models.fingerprints is None
    assert training_facts(context_of(Config(lm=LmConfig(path="c")))).reads_corpus
    assert not learns_public(context_of(GIVEN)) and learns_public(context_of(Config()))


def test_the_ids_are_those_that_the_stages_wrote_down(tmp_path: Path) -> None:
    context = context_of(Config(out=tmp_path))
    assert ids_by_stage(context) == {}
    for name, ids in (("teacher", ["a", "b"]), ("tokenizer", ["c"]), ("stranger", ["d"])):
        write_table(tmp_path / name / "provenance.parquet", pa.table({"id": ids}))
    assert ids_by_stage(context) == {"tokenizer": ["c"], "teacher": ["a", "b"]}
    assert training_facts(context).met == ids_by_stage(context)
    write_table(tmp_path / "student" / "provenance.parquet", pa.table({"id": ["e"]}))
    assert list(ids_by_stage(replace(context, config=Config(out=tmp_path)))) == [
        "tokenizer",
        "teacher",
        "student",
    ]


def test_fingerprints_are_of_records_tokenizer_and_weights_as_written_and_as_they_lie(
    tmp_path: Path,
) -> None:
    context = context_of(Config(out=tmp_path))
    assert fingerprints(context) == ({}, {})
    files = {
        "data": ("records.parquet", "split.json"),
        "tokenizer": ("tokenizer.json", "provenance.parquet"),
        "teacher": ("model/model.safetensors", "metrics.jsonl"),
        "evaluate": ("answers.parquet",),
    }
    for stage, names in files.items():
        for name in names:
            path = tmp_path / stage / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{stage} {name}")
        hashes = {name: sha256_file(tmp_path / stage / name) for name in names}
        write_json(tmp_path / stage / MANIFEST, {"files": hashes})
    expected, now = fingerprints(context)
    assert expected == now and set(expected) == {
        "data/records.parquet",
        "data/split.json",
        "tokenizer/tokenizer.json",
        "teacher/model/model.safetensors",
    }
    (tmp_path / "data" / "split.json").unlink()
    (tmp_path / "teacher" / "model" / "model.safetensors").write_text("changed")
    expected, now = fingerprints(context)
    differ = {path for path in expected if expected[path] != now[path]}
    assert differ == {"data/split.json", "teacher/model/model.safetensors"}
    assert now["data/split.json"] == "nothing"
