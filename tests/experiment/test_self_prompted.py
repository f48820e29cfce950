"""Models taught by what an audited one writes: who gets one, from where, on what; and the attacks that ask them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from stillage.cli import main
from stillage.distill.methods import METHODS
from stillage.experiment.context import make_context
from stillage.experiment.plan import plan
from stillage.experiment.serving_models import (
    asks_self_prompted,
    self_prompted_specs,
    shadow_specs,
    training_of,
)
from stillage.experiment.specs import model_specs
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, DataConfig, DistillConfig, LmConfig, TrainConfig
from stillage.run.results import read_results
from stillage.run.stages import stage_keys
from stillage.run.stop import watch_signals

ATTACKS = ("loss", "self_prompted_reference", "self_prompted_variation")
OWN = (
    "--stages distill audit --teacher.width 48 --teacher.heads 4 --teacher-train.epochs 60 "
    "--teacher-train.lr-peak 1e-2 --student-train.epochs 2 --audit.signal-records 0 "
    "--audit.counterfactual false --audit.fprs 0.2 --audit.neighbours 6 "
    "--audit.self-prompt-texts 16 --audit.attacks"
).split()
MODELS = ("teacher", "student", "student_no_teacher")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny_run: list[str]) -> Path:
    out = tmp_path_factory.mktemp("prompted") / "run"
    assert main([*tiny_run, *OWN, *ATTACKS, "--out", str(out)]) == 0
    return out


def test_every_model_teaches_its_own_reference_on_public_prompts(run: Path) -> None:
    public = {
        r["id"]
        for r in pq.read_table(run / "data" / "records.parquet").to_pylist()
        if r["part"] == "public"
    }
    met = {
        name: pq.read_table(run / f"self_prompted_{name}" / "provenance.parquet")
        .column("id")
        .to_pylist()
        for name in MODELS
    }
    assert (
        all(set(ids) < public and len(ids) == 16 for ids in met.values())
        and len({*map(tuple, met.values())}) == 1
    )
    texts = [pq.read_table(run / f"self_prompted_{name}" / "texts.parquet") for name in MODELS]
    assert len({tuple(table.column("text").to_pylist()) for table in texts}) == 3


def test_the_attacks_find_the_teachers_members_and_none_of_the_controls(run: Path) -> None:
    results = read_results(run / "audit" / "results.parquet")
    auc = {
        (row.model, row.attack): row
        for row in results
        if row.metric == "auc" and row.model != "blind"
    }
    assert set(auc) == {(model, attack) for model in MODELS for attack in ATTACKS}
    assert all(
        auc["teacher", attack].value > 0.9 and auc["teacher", attack].n == 48 for attack in ATTACKS
    )
    assert all(
        auc["student_no_teacher", attack].low < 0.5 < auc["student_no_teacher", attack].high
        for attack in ATTACKS
    )
    assert not [row for row in results if row.metric in ("left_out", "nan_scores") and row.value]
    html = (run / "report" / "report.html").read_text()
    assert (
        "self prompted teacher" not in html
        and "self_prompted_teacher" not in html.partition("<h2")[0]
    )


@pytest.fixture(scope="module")
def asked() -> dict[str, Config]:
    plain = Config(audit=AuditConfig(attacks=("loss",)))
    return {
        "plain": plain,
        "prompted": replace(plain, audit=AuditConfig(attacks=ATTACKS)),
        "fewer": replace(plain, audit=AuditConfig(attacks=ATTACKS, self_prompt_texts=9)),
        "once": replace(plain, audit=AuditConfig(attacks=ATTACKS, self_prompt_epochs=1)),
        "unused": replace(plain, audit=AuditConfig(attacks=("loss",), self_prompt_texts=9)),
    }


def test_only_who_asks_trains_them_and_nothing_else_is_repeated(asked: dict[str, Config]) -> None:
    with watch_signals() as stop:
        found = {
            name: stage_keys(plan(make_context(config, stop, lambda name, facts: None)))
            for name, config in asked.items()
        }
    base = found["plain"]
    assert found["unused"] == base
    taught = {
        f"self_prompted_{name}"
        for name in (*MODELS, "teacher_counterfactual", "student_counterfactual")
    }
    for name in ("prompted", "fewer", "once"):
        assert set(found[name]) - set(base) == taught
        assert all(
            found[name][stage] == key
            for stage, key in base.items()
            if stage not in ("audit", "signal", "report")
        )
    assert all(
        len({found[name][stage] for name in ("prompted", "fewer", "once")}) == 3 for stage in taught
    )


def test_they_start_where_their_teacher_did_and_read_no_corpus(asked: dict[str, Config]) -> None:
    config = replace(asked["prompted"], lm=LmConfig(path=__file__))
    config = replace(config, distill=replace(config.distill, init_epochs=1.0))
    with watch_signals() as stop:
        context = make_context(config, stop, lambda name, facts: None)
        stages = {stage.name: stage for stage in plan(context)}
    specs = {spec.name: spec for spec in context.specs}
    for name in (spec.name for spec in context.models):
        own, taught = specs[name], specs[f"self_prompted_{name}"]
        assert (taught.start, taught.starts_from, taught.teacher, taught.method) == (
            own.start,
            own.starts_from,
            name,
            "seqkd",
        )
        assert "lm" not in stages[taught.name].settings and name in stages[taught.name].inputs
    assert "self_prompted_student_init" not in specs


def test_their_training_is_a_fifth_of_the_models_own() -> None:
    own = TrainConfig(epochs=7, max_steps=11, lr_peak=3e-3, keep="best", keep_checkpoints=2)
    fifth = replace(own, epochs=7 / 5, max_steps=3)
    assert training_of(own, 0) == replace(fifth, keep="last", keep_checkpoints=0, validate_every=0)
    assert training_of(replace(own, max_steps=0), 0).max_steps == 0  # which means: after the epochs
    assert (training_of(own, 2).epochs, training_of(own, 2).max_steps) == (2, 0)


def test_a_given_model_has_none_and_that_is_said(run: Path, tmp_path: Path) -> None:
    words = [
        "audit",
        "--student",
        str(run / "student" / "model"),
        "--data.template",
        "raw",
        "--out",
        str(tmp_path / "run"),
        "--audit.attacks",
        *ATTACKS[:2],
        "--audit.extract-tokens",
        "2",
        "--audit.fprs",
        "0.2",
    ]
    records = pq.read_table(run / "data" / "records.parquet").to_pylist()
    for part in ("private", "nonmembers"):
        file = tmp_path / f"{part}.jsonl"
        rows = (
            {"prompt": record["prompt"], "response": record["response"]}
            for record in records
            if record["part"] == part
        )
        file.write_text("\n".join(map(json.dumps, rows)))
        words += [f"--data.files.{part}", str(file)]
    assert main(words) == 0
    left_out = [
        r
        for r in read_results(tmp_path / "run" / "audit" / "results.parquet")
        if r.metric == "left_out"
    ]
    assert [(r.attack, "not trained in this run" in r.reason) for r in left_out] == [
        ("self_prompted_reference", True)
    ]


def test_every_trained_model_but_those_that_serve_others_has_one() -> None:
    audit = AuditConfig(attacks=("self_prompted_reference",))
    data = DataConfig(max_tokens=100, max_prompt_tokens=30)
    config = Config(audit=audit, data=data, distill=DistillConfig(init_epochs=1))
    method = METHODS["kd"]
    specs = model_specs(config, method, method.params())
    shadows = shadow_specs(specs, 2)
    found = self_prompted_specs([*specs, *shadows], config)
    assert [spec.imitates for spec in found] == [
        spec.name for spec in specs if spec.name != "student_init"
    ]
    by_name = {spec.name: spec for spec in specs}
    for spec in found:
        assert spec.teacher == spec.imitates and spec.name == f"self_prompted_{spec.imitates}"
        assert (spec.method, spec.trained_on) == ("seqkd", "public")
        assert spec.start == by_name[spec.imitates].start
        assert dict(spec.params) == {"decoding": "sampling", "max_new_tokens": "70"}
    assert self_prompted_specs(specs, Config()) == []
    assert not asks_self_prompted(Config().audit) and asks_self_prompted(audit)


def test_a_share_of_a_training_is_never_without_an_end() -> None:
    """A limit of one step stays one: 0 would mean none."""
    train = TrainConfig(
        epochs=0, max_steps=1, max_trained_tokens=6, keep="best", keep_checkpoints=2
    )
    found = training_of(train, 0)
    assert (found.epochs, found.max_steps, found.max_trained_tokens) == (0, 1, 2)
    assert (found.keep, found.keep_checkpoints, found.validate_every) == ("last", 0, 0)
    fixed = training_of(train, 1.5)
    assert (fixed.epochs, fixed.max_steps, fixed.max_trained_tokens) == (1.5, 0, 0)
