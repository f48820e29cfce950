"""A model from elsewhere as a reference in a run that trains: asked by its own attack, a control, and refused before training."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from stillage.audit.attacks import ATTACKS
from stillage.audit.partners import partners_of
from stillage.cli import main
from stillage.errors import ConfigError
from stillage.experiment.specs import OUTSIDE, ModelSpec, outside_specs
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, ModelConfig
from stillage.run.folder import read_json
from stillage.run.results import read_results

Printed = pytest.CaptureFixture[str]
TINY = [
    "--data.people",
    "16",
    "--tokenizer.vocab-size",
    "300",
    "--threads",
    "1",
    "--jobs",
    "1",
    "--teacher.layers",
    "1",
    "--teacher.width",
    "16",
    "--teacher.heads",
    "2",
    "--teacher-train.epochs",
    "1",
    "--student.layers",
    "1",
    "--student.width",
    "16",
    "--student.heads",
    "2",
    "--student-train.epochs",
    "1",
    "--audit.no-counterfactual",
    "--audit.fprs",
    "0.5",
    "--audit.extract",
    "",
    "--audit.extract-tokens",
    "3",
    "--stages",
    "distill",
    "audit",
]
AUDIT = AuditConfig(reference="elsewhere", reference_revision="c0")


def test_it_is_a_model_of_the_run_where_an_attack_asks_it() -> None:
    config, start = Config(audit=AUDIT), ModelConfig()
    with_control = [
        ModelSpec(name=name, start=start) for name in ("teacher", "student", "student_no_teacher")
    ]
    asks, reference = ATTACKS["reference_outside"], ATTACKS["reference"]
    (spec,) = outside_specs(with_control, config, [ATTACKS["loss"], asks])
    assert (spec.name, spec.start.path, spec.start.revision, spec.is_trained) == (
        OUTSIDE,
        "elsewhere",
        "c0",
        False,
    )
    with pytest.raises(
        ConfigError, match=r"No attack of this run asks(.|\n)*elsewhere(.|\n)*Add reference_outside"
    ):
        outside_specs(with_control, config, [ATTACKS["loss"], reference])
    assert (
        len(outside_specs(with_control[:2], config, [reference])) == 1
    )  # no student without a teacher takes its part
    assert outside_specs(with_control, Config(), [reference]) == []
    assert (
        outside_specs(with_control[:2], Config(audit=AUDIT, stages=("audit",)), [ATTACKS["loss"]])
        == []
    )


def test_whom_the_attacks_ask() -> None:
    names = ["teacher", "student", "student_no_teacher", OUTSIDE]
    found = partners_of(names, {"teacher": "t", "student": "s"}, names[2:], {}, OUTSIDE)
    assert found["student"] == {
        "reference": "student_no_teacher",
        "outside": OUTSIDE,
        "initial": "s",
        "teacher_initial": "t",
    }
    assert found[OUTSIDE]["outside"] == OUTSIDE  # a model is not compared with itself
    alone = partners_of(["student", OUTSIDE], {}, [OUTSIDE], {}, OUTSIDE)
    assert alone["student"] == {"reference": OUTSIDE, "outside": OUTSIDE}
    assert "outside" not in partners_of(["student"], {}, [])["student"]


def test_a_run_asks_it_in_its_own_tokens_and_names_it_as_a_control(
    tmp_path: Path, capsys: Printed
) -> None:
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_model, save_model

    tokenizer = train_bpe(["something else altogether " * 30], 270)
    start = ModelConfig(layers=1, width=16, heads=2, context=160)
    save_model(load_model(start, vocab_size=len(tokenizer), seed=1), tokenizer, tmp_path / "other")
    out = tmp_path / "run"
    words = [
        "run",
        "biographies",
        *TINY,
        "--out",
        str(out),
        "--audit.reference",
        str(tmp_path / "other"),
        "--audit.attacks",
        "loss",
    ]
    assert main(words) == 2
    said = capsys.readouterr().err
    assert (
        "No attack of this run asks" in said
        and len(said.strip().splitlines()) == 3
        and not out.exists()
    )
    shutil.move(tmp_path / "other" / "config.json", tmp_path / "config.json")
    words += ["reference", "reference_outside", "reference_teacher_init"]
    assert main(words) == 2  # before the teacher is trained
    assert "is not a model folder" in capsys.readouterr().err and not (out / "teacher").exists()
    shutil.move(tmp_path / "config.json", tmp_path / "other" / "config.json")
    assert main(words) == 0
    rows = read_results(out / "audit" / "results.parquet")
    scored = {(row.model, row.attack) for row in rows if row.metric == "auc"}
    assert {attack for model, attack in scored if model == "student"} == {
        "loss",
        "reference",
        "reference_outside",
        "reference_teacher_init",
    }
    assert {attack for model, attack in scored if model == OUTSIDE} == {"loss"}
    left = {(row.model, row.attack) for row in rows if row.metric == "left_out"}
    assert left == {(OUTSIDE, "reference"), (OUTSIDE, "reference_teacher_init")}  # other tokens
    found = read_json(out / "audit" / "validity.json")
    assert found["unchecked"]["provenance"].endswith(f": {OUTSIDE}")
    controls = next(check for check in found["checks"] if check["name"] == "controls")
    assert f"loss on {OUTSIDE}" in controls["values"]
    assert (
        '<th scope="row">other</th>' in (out / "report" / "report.html").read_text()
    )  # the name of its folder


def test_a_masked_model_that_is_not_there_is_said_before_anything_is_trained(
    tmp_path: Path, capsys: Printed
) -> None:
    words = [
        "run",
        "biographies",
        *TINY,
        "--out",
        str(tmp_path / "run"),
        "--audit.attacks",
        "loss",
        "neighbour",
    ]
    assert main([*words, "--audit.masked-model", "./nowhere"]) == 2
    assert (
        "There is no folder ./nowhere" in capsys.readouterr().err
        and not (tmp_path / "run").exists()
    )
