"""The models of an audit by what they can know, and which are another's controls."""

from __future__ import annotations

from collections.abc import Mapping

TEACHER, STUDENT, CLEAN, ALONE = (
    "teacher",
    "student",
    "student_counterfactual",
    "student_no_teacher",
)
MINIMAL, OUTSIDE = "student_minimal", "outside_reference"
"""CLEAN: the same recipe from a teacher that never saw the members. ALONE: the same student without
any teacher. MINIMAL: the same, asked only for what is needed. OUTSIDE: audit.reference."""
CLEAN_TEACHER = "teacher_counterfactual"
OF_STUDENTS, OF_TEACHERS = (CLEAN, ALONE, OUTSIDE), (CLEAN_TEACHER, ALONE, OUTSIDE)
CONTROLS: Mapping[str, tuple[str, ...]] = {
    STUDENT: OF_STUDENTS,
    MINIMAL: OF_STUDENTS,
    TEACHER: OF_TEACHERS,
}
"""A model -> those that never met its members, nor a teacher that did; their scores are no leak."""
