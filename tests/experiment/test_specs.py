"""Which models a config means, who teaches whom, and which records that needs."""

from __future__ import annotations

import pytest

from stillage.distill.methods import METHODS
from stillage.errors import ConfigError
from stillage.experiment.specs import (
    INIT,
    check_files,
    missing_controls,
    model_specs,
    needed_parts,
)
from stillage.run.config import (
    AuditConfig,
    Config,
    DataConfig,
    DistillConfig,
    ModelConfig,
    TrainConfig,
)


def parts_of(config: Config) -> dict[str, tuple[str, str]]:
    method = METHODS[config.distill.method]
    found = model_specs(config, method, method.params())
    return {spec.name: (spec.trained_on or "", spec.teacher) for spec in found}


def test_the_default_has_every_control() -> None:
    assert parts_of(Config()) == {
        "teacher": ("private", ""),
        "teacher_counterfactual": ("counterfactual", ""),
        "student": ("public", "teacher"),
        "student_counterfactual": ("public", "teacher_counterfactual"),
        "student_no_teacher": ("public", ""),
    }


def test_no_audit_needs_no_controls_and_no_nonmembers() -> None:
    config = Config(stages=("distill", "evaluate"))
    assert list(parts_of(config)) == ["teacher", "student"]
    method = METHODS["kd"]
    assert needed_parts(config, model_specs(config, method, method.params())) == (
        "private",
        "public",
        "test",
    )


def test_a_given_teacher_has_no_counterfactual_twin() -> None:
    config = Config(teacher=ModelConfig(path="t"), teacher_train=TrainConfig(epochs=0))
    assert parts_of(config) == {
        "teacher": ("", ""),
        "student": ("public", "teacher"),
        "student_no_teacher": ("public", ""),
    }


def test_without_a_teacher_the_student_is_its_own_control() -> None:
    config = Config(distill=DistillConfig(method="sft"))
    assert parts_of(config)["student"] == ("public", "") and "student_no_teacher" not in parts_of(
        config
    )


def test_an_audit_of_given_models_trains_nothing() -> None:
    config = Config(
        stages=("audit",), student=ModelConfig(path="s"), audit=AuditConfig(reference="r")
    )
    assert parts_of(config) == {"student": ("", ""), "outside_reference": ("", "")}


@pytest.mark.parametrize(
    "config",
    [
        Config(stages=("audit",)),
        Config(teacher_train=TrainConfig(epochs=0)),
        Config(student_train=TrainConfig(epochs=0)),
    ],
)
def test_noise_is_refused(config: Config) -> None:
    with pytest.raises(ConfigError):
        parts_of(config)


def test_files_without_counterfactual_records_leave_that_control_out_and_say_so() -> None:
    files = {"private": "a", "public": "b", "nonmembers": "c", "test": "d"}
    config = Config(data=DataConfig(files=files))
    method = METHODS["kd"]
    specs = model_specs(config, method, method.params())
    assert [spec.name for spec in specs] == ["teacher", "student", "student_no_teacher"]
    assert "data.files names no counterfactual records" in " ".join(missing_controls(config, specs))
    check_files(config, specs)
    everything = Config(data=DataConfig(files={**files, "counterfactual": "e"}))
    specs = model_specs(everything, method, method.params())
    assert "teacher_counterfactual" in [spec.name for spec in specs]
    assert missing_controls(everything, specs) == []


def test_a_role_without_a_file_is_refused_before_anything_is_read() -> None:
    config = Config(data=DataConfig(files={"private": "a", "public": "b", "test": "d"}))
    method = METHODS["kd"]
    with pytest.raises(ConfigError, match="No file is named for nonmembers"):
        check_files(config, model_specs(config, method, method.params()))


def test_the_common_start_and_the_teachers_are_no_students() -> None:
    config = Config(distill=DistillConfig(init_epochs=1.0), student_train=TrainConfig(epochs=1))
    method = METHODS[config.distill.method]
    found = {spec.name: spec.is_student for spec in model_specs(config, method, method.params())}
    assert INIT in found
    assert {name for name, is_student in found.items() if is_student} == {
        "student",
        "student_counterfactual",
        "student_no_teacher",
    }
