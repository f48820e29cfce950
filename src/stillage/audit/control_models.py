"""The models of an audit by what they can know, and which are another's controls."""

from __future__ import annotations

from collections.abc import Mapping

TEACHER, STUDENT, MINIMAL = "teacher", "student", "student_minimal"
CLEAN, CLEAN_TEACHER = "student_counterfactual", "teacher_counterfactual"
ALONE, OUTSIDE = "student_no_teacher", "outside_reference"
UNTRAINED = "student_untrained"
"""MINIMAL: the student, asked only for what is needed. CLEAN: the same recipe from CLEAN_TEACHER,
which never saw the members. ALONE: the same student without any teacher. OUTSIDE: audit.reference.
UNTRAINED: the weights that the student's training started from."""
CONTROLS = (ALONE, OUTSIDE, CLEAN, CLEAN_TEACHER)
"""Trained models that never met a private record, nor a teacher that did."""
OF_STUDENTS, OF_TEACHERS = (CLEAN, ALONE, OUTSIDE), (CLEAN_TEACHER, ALONE, OUTSIDE)
CONTROLS_OF: Mapping[str, tuple[str, ...]] = {
    STUDENT: OF_STUDENTS,
    MINIMAL: OF_STUDENTS,
    TEACHER: OF_TEACHERS,
}
"""A model -> those of CONTROLS that it is compared with: their scores are no leak."""
