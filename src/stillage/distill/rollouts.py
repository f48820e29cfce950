"""Questions about a method's rollout that are answered without torch."""

from __future__ import annotations

from stillage.types import DataRollout, Method, Source, StudentRollout


def needs_answers(method: Method, params: object) -> bool:
    """Whether the records' own answers are trained: not where models write every text."""
    return isinstance(method.rollout(params), DataRollout | StudentRollout)


def by_student(capacity: int) -> Source:
    """The student's new texts, or, where there is a buffer, a draw from it."""
    return "student_then_replay" if capacity else "student"
