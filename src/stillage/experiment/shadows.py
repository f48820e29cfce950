"""The shadow pipelines: a teacher each, its distilled student, and who is trained on what.

Each model is a stage like any other (teacher_shadow_01, student_shadow_01 ...): resumable, side by
side with `jobs`, found again by its hash, whatever audit is made of them later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.design import check_count, design_table, shadow_name
from stillage.audit.shadow_audit import shadow_design
from stillage.data.split import read_split
from stillage.errors import ConfigError
from stillage.experiment.specs import ModelSpec
from stillage.run.folder import write_table
from stillage.types import Record

if TYPE_CHECKING:
    from stillage.experiment.context import Context

DESIGN = "shadow_design"


def shadow_specs(specs: Sequence[ModelSpec], n_shadows: int) -> list[ModelSpec]:
    """Copy the run's teacher and student for each shadow pipeline; records and seed differ.

    specs: the run's own. Where the student does not learn from its teacher, there are shadow
    teachers alone. ConfigError for an odd number, or a teacher that is not trained here.
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
    shadows: list[ModelSpec] = []
    for number in range(1, n_shadows + 1):
        name = shadow_name("teacher", number)
        shadows.append(replace(teacher, name=name, shadow=number))
        if student is not None and "teacher" in (student.teacher, student.pruned_from):
            copy = replace(student, name=shadow_name("student", number), shadow=number)
            own = {"teacher": student.teacher and name, "pruned_from": student.pruned_from and name}
            shadows.append(replace(copy, **own))
    return shadows


def make_design(context: Context, folder: Path) -> None:
    """Write the whole design down before a shadow is trained."""
    split = read_split(context.run / "data")
    pool, design_KN = shadow_design(split, context.config.audit.shadows, context.config.seed)
    ids, groups = [record.id for record in pool], split.group_names(pool)
    write_table(folder / "design.parquet", design_table(ids, groups, design_KN))


def records_in(context: Context, number: int) -> list[Record]:
    """List what the teacher of one shadow (from 1) is trained on.

    The first columns of a design do not depend on their number.
    """
    split = read_split(context.run / "data")
    pool, design_KN = shadow_design(split, number + number % 2, context.config.seed)
    return list(compress(pool, design_KN[number - 1].tolist()))
