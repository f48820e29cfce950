"""Who is trained on what in a run's shadow pipelines.

Each model is a stage like any other (teacher_shadow_01, student_shadow_01 ...): resumable, side by
side with `jobs`, found again by its hash, whatever audit is made of them later.
"""

from __future__ import annotations

from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.design import design_table
from stillage.audit.shadow_audit import shadow_design
from stillage.data.split import read_split
from stillage.run.folder import write_table
from stillage.types import Record

if TYPE_CHECKING:
    from stillage.experiment.context import Context

DESIGN = "shadow_design"


def make_design(context: Context, folder: Path) -> None:
    """Write the whole design down before a shadow is trained."""
    split = read_split(context.run / "data")
    pool, design_KN = shadow_design(split, context.config.audit.shadows, context.config.seed)
    ids, groups = [record.id for record in pool], split.group_names(pool)
    write_table(folder / "design.parquet", design_table(ids, groups, design_KN))


def records_in(context: Context, number: int) -> list[Record]:
    """List what the teacher of a shadow (from 1) learns; more shadows change nothing."""
    split = read_split(context.run / "data")
    pool, design_KN = shadow_design(split, number + number % 2, context.config.seed)
    return list(compress(pool, design_KN[number - 1].tolist()))
