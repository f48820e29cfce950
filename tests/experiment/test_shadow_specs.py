"""Shadow pipelines copy the target's recipe, whatever it is, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stillage.audit.shadow_audit import chosen_attacks
from stillage.distill.methods import METHODS
from stillage.errors import ConfigError
from stillage.experiment.serving_models import shadow_specs
from stillage.experiment.specs import ModelSpec, model_specs
from stillage.run.audit_config import AuditConfig
from stillage.run.config import Config, DistillConfig, ModelConfig, TrainConfig


def parts_of(config: Config) -> list[ModelSpec]:
    method = METHODS[config.distill.method]
    return model_specs(config, method, method.params())


def test_a_shadow_is_the_target_but_for_its_records_and_its_name() -> None:
    specs = parts_of(Config())
    shadows = shadow_specs(specs, 2)
    assert [spec.name for spec in shadows] == [
        "teacher_shadow_01",
        "student_shadow_01",
        "teacher_shadow_02",
        "student_shadow_02",
    ]
    by_name = {spec.name: spec for spec in specs}
    teacher, student = shadows[2:]
    assert replace(teacher, name="teacher", shadow=0) == by_name["teacher"] and teacher.shadow == 2
    assert student.teacher == "teacher_shadow_02"
    assert replace(student, name="student", shadow=0, teacher="teacher") == by_name["student"]
    assert shadow_specs(specs, 0) == [] and shadow_specs(specs, 8)[:4] == shadows


def test_a_pruned_student_is_cut_from_its_own_shadow() -> None:
    shadows = shadow_specs(parts_of(Config(student=ModelConfig(prune_teacher_to=1))), 2)
    assert [spec.pruned_from for spec in shadows if spec.name.startswith("student")] == [
        "teacher_shadow_01",
        "teacher_shadow_02",
    ]


def test_students_keep_the_start_that_they_share() -> None:
    shadows = shadow_specs(parts_of(Config(distill=DistillConfig(method="kd", init_epochs=1))), 2)
    assert {spec.starts_from for spec in shadows if spec.name.startswith("student")} == {
        "student_init"
    }


def test_a_student_without_a_teacher_has_no_shadow() -> None:
    shadows = shadow_specs(parts_of(Config(distill=DistillConfig(method="sft"))), 4)
    assert [spec.name for spec in shadows] == [
        f"teacher_shadow_0{number}" for number in (1, 2, 3, 4)
    ]


def test_a_teacher_that_is_given_cannot_be_retrained() -> None:
    config = Config(teacher=ModelConfig(path="t"), teacher_train=TrainConfig(epochs=0))
    with pytest.raises(ConfigError, match="does not train one"):
        shadow_specs(parts_of(config), 4)


def test_attacks_are_all_of_them_or_those_named() -> None:
    named, fitted = chosen_attacks(AuditConfig(shadows=8))
    assert len(named) == 6 and not fitted
    named, fitted = chosen_attacks(AuditConfig(shadows=8, attacks=("loss", "rmia", "learned")))
    assert [attack.name for attack in named] == ["rmia"] and [attack.name for attack in fitted] == [
        "learned"
    ]
    assert chosen_attacks(AuditConfig()) == ([], [])
    with pytest.raises(ConfigError, match="rmia"):
        chosen_attacks(AuditConfig(attacks=("loss", "rmia")))
