"""What the methods that train on written texts share: how a text is drawn, and whether the step's texts are kept."""

from __future__ import annotations

from typing import Protocol

from stillage.types import Method, Rollout, RolloutState, Source


class Sampling(Protocol):
    """The settings of a method that say how a text is drawn (`settings.check_sampling` refuses bad ones)."""

    @property
    def max_new_tokens(self) -> int: ...
    @property
    def sampling_temperature(self) -> float: ...
    @property
    def top_p(self) -> float: ...
    @property
    def top_k(self) -> int: ...


def sampled(params: Sampling) -> Rollout:
    """A rollout whose texts are drawn as the settings say; who writes, and when, is the method's to add."""
    return Rollout(
        max_new_tokens=params.max_new_tokens,
        sampling_temperature=params.sampling_temperature,
        top_p=params.top_p,
        top_k=params.top_k,
    )


def needs_answers(method: Method, params: object) -> bool:
    """Whether the records' own answers are trained on: not where teacher or student write every text."""
    rollout = None if method.rollout is None else method.rollout(params)
    return rollout is None or not (rollout.writes_once or rollout.cycle_records)


def by_student(capacity: int) -> Source:
    """The student writes: its new texts are trained, or, where there is a buffer, kept there and drawn from it."""
    return "student_then_replay" if capacity else "student"


def follows_validation(rollout: Rollout) -> bool:
    """Does a validation change what the rollout does next?"""
    after: RolloutState = rollout.validated(rollout.start, 0.0)
    return after != rollout.start
