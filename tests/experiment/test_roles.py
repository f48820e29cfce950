"""Which models a config means, who teaches whom, and which records that needs."""

from __future__ import annotations

import pytest

from stillage.distill.methods import METHODS
from stillage.errors import ConfigError
from stillage.experiment.roles import data_roles, model_roles
from stillage.run.config import AuditConfig, Config, DistillConfig, ModelConfig, TrainConfig


def roles_of(config: Config) -> dict[str, tuple[str, str]]:
    method = METHODS[config.distill.method]
    found = model_roles(config, method, method.params())
    return {role.name: (role.trained_on or "", role.teacher) for role in found}


def test_the_default_has_every_control() -> None:
    assert roles_of(Config()) == {
        "teacher": ("private", ""),
        "teacher_counterfactual": ("counterfactual", ""),
        "student": ("public", "teacher"),
        "student_counterfactual": ("public", "teacher_counterfactual"),
        "student_no_teacher": ("public", ""),
    }


def test_no_audit_needs_no_controls_and_no_outsiders() -> None:
    config = Config(stages=("distill", "evaluate"))
    assert list(roles_of(config)) == ["teacher", "student"]
    method = METHODS["kd"]
    assert data_roles(config, model_roles(config, method, method.params())) == ("private", "public", "test")


def test_a_given_teacher_has_no_counterfactual_twin() -> None:
    config = Config(teacher=ModelConfig(path="t"), teacher_train=TrainConfig(epochs=0))
    assert roles_of(config) == {
        "teacher": ("", ""), "student": ("public", "teacher"), "student_no_teacher": ("public", ""),
    }  # fmt: skip


def test_without_a_teacher_the_student_is_its_own_control() -> None:
    config = Config(distill=DistillConfig(method="sft"))
    assert roles_of(config)["student"] == ("public", "") and "student_no_teacher" not in roles_of(config)


def test_an_audit_of_given_models_trains_nothing() -> None:
    config = Config(stages=("audit",), student=ModelConfig(path="s"), audit=AuditConfig(reference="r"))
    assert roles_of(config) == {"student": ("", ""), "student_no_teacher": ("", "")}


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
        roles_of(config)
