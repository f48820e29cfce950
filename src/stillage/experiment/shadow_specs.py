"""The models of the shadow pipelines: a teacher each, and its distilled student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stillage.audit.design import check_count, shadow_name
from stillage.errors import ConfigError
from stillage.experiment.specs import ModelSpec


def shadow_specs(specs: Sequence[ModelSpec], n_shadows: int) -> list[ModelSpec]:
    """List the models of the shadow pipelines.

    Each is a copy of the target's teacher or student but for its records and seed. specs: the run's
    own. Where the student does not learn from its teacher, there are shadow teachers alone.
    ConfigError for an odd number, or a teacher that is not trained here.
    """
    check_count(n_shadows)
    by_name = {spec.name: spec for spec in specs}
    teacher, student = by_name.get("teacher"), by_name.get("student")
    if not n_shadows:
        return []
    if teacher is None or not teacher.is_trained:
        raise ConfigError(
            "Shadow pipelines retrain the teacher, and this run does not train one.",
            f"audit.shadows: {n_shadows}; teacher: {'given' if teacher else 'none'}",
            "Train the teacher on private records (teacher_train.epochs), or leave out "
            "audit.shadows.",
        )
    learns = (
        student is not None
        and student.is_trained
        and "teacher" in (student.teacher, student.pruned_from)
    )
    shadows: list[ModelSpec] = []
    for number in range(1, n_shadows + 1):
        name = shadow_name("teacher", number)
        shadows.append(replace(teacher, name=name, shadow=number))
        if student is not None and learns:
            shadows.append(
                replace(
                    student,
                    name=shadow_name("student", number),
                    shadow=number,
                    teacher=student.teacher and name,
                    pruned_from=student.pruned_from and name,
                )
            )
    return shadows
