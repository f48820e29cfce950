"""Rows of the table of published scripts as settings, one rule at a time."""

from __future__ import annotations

import dataclasses

import pytest

from stillage.errors import ConfigError
from stillage.presets.needs import check_needs, missing_model, missing_records, trained_by
from stillage.presets.published import MODELS, Script, describe_script, published
from stillage.presets.script_settings import released_divergence, script_settings, script_yaml
from stillage.run.parse import build, from_yaml

KD = next(script for script in published().values() if script.method == "kd")


def changed(**columns: str) -> Script:
    """A script of word-level KD with other columns."""
    return dataclasses.replace(KD, **columns)


@pytest.mark.parametrize(
    ("batch", "gpus", "extras", "records"),
    [("8x1", "1", "", 8), ("8x2", "4", "", 64), ("8x2", "4", "mp=4", 16), ("1x1", "16", "gc", 16)],
)
def test_records_of_a_step(batch: str, gpus: str, extras: str, records: int) -> None:
    assert changed(batch=batch, gpus=gpus, extras=extras).records_per_step == records


def test_switches_and_values_among_the_extras() -> None:
    assert changed(extras="gc seed=20 mp=2").extra == {"gc": "", "seed": "20", "mp": "2"}
    assert script_settings(changed(extras="seed=20 gc"))["seed"] == ["20"]
    train = script_settings(changed(extras="gc ds=bf16"))
    assert train["student_train.gradient_checkpointing"] == ["true"]
    assert train["student_train.precision"] == ["bf16"]


@pytest.mark.parametrize(
    ("kind", "ours"),
    [("adaptive-srkl", "srkl"), ("kd", "fkl"), ("fkl", "fkl"), ("rkl", "rkl"), ("jsd", "jsd")],
)
def test_the_first_divergence_in_a_type_counts(kind: str, ours: str) -> None:
    assert released_divergence(changed(type=kind)) == ours


def test_the_weights_of_a_script_add_up_to_one() -> None:
    flat = script_settings(changed(method="kd", type="kd", kd_ratio="0.7"))
    assert flat["distill.params.kd_weight"] == ["0.7"]
    assert flat["distill.params.ce_weight"] == ["0.3"]


def test_what_cannot_be_brought_along_is_asked_for() -> None:
    assert missing_records(KD, {"data.files.public": ["a"]}) == missing_records(
        KD, {"data.source": ["a"]}
    )
    ((what, fix),) = missing_records(KD, {})
    assert what == "records" and "--data.files.public FILE" in fix
    assert missing_model("teacher", "given", {}) == [("the teacher", "--teacher FOLDER")]
    assert missing_model("teacher", "given", {"teacher.path": ["."]}) == []
    hub = MODELS["gpt2-base"]
    ((what, _),) = missing_model("student", "gpt2-base", {"student.path": [hub]})
    assert what == f"the commit of {hub}"
    given = {"student.path": [hub], "student.revision": ["0" * 40]}
    assert missing_model("student", "gpt2-base", given) == []
    assert trained_by(f"runs/{KD.preset}/student/model") == KD.preset


def test_a_script_that_lacks_something_is_refused_with_all_of_it() -> None:
    flat = script_settings(KD)
    with pytest.raises(ConfigError, match=f"The preset {KD.preset} needs") as caught:
        check_needs(KD, flat)
    assert caught.value.values.startswith("missing: records; ")
    check_needs(KD, flat | {"data.source": ["a.jsonl"]}, only_records=True)


def test_a_script_written_as_yaml_is_read_back_as_itself() -> None:
    text = script_yaml(KD)
    assert text.splitlines()[0] == f"# {KD.preset}: {describe_script(KD)}"
    config = build(from_yaml(text, "x"))
    assert config.data.files["public"] == "train.jsonl" and config.distill.method == "kd"
    assert config.student_train == build(script_settings(KD)).student_train
