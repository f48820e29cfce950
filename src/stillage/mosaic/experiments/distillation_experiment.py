"""Distillation: what near-copies in the teacher's data leave in its students."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.distill.methods import METHODS
from stillage.errors import ConfigError, did_you_mean
from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config

TEACHER = "teacher"


@dataclass(frozen=True, slots=True, kw_only=True)
class Distillation:
    """Which methods, and how often the teacher saw what."""

    methods: tuple[str, ...] = ("sft", "kd", "seqkd", "gkd", "distillm", "minillm")
    """Names from `stillage ls methods`."""
    replaced: tuple[int, ...] = (10, 50)
    """Tokens replaced in each near-copy of the teacher's data."""
    copies: int = 5
    """Copies at full dose: each method has a curve of so many students of its own."""


def points(params: Distillation, config: Config) -> Sequence[ExperimentPoint]:
    """One line for the teacher, and one for the students of each method."""
    for name in params.methods:
        if name not in METHODS:
            raise ConfigError(
                "There is no such method.",
                f"mosaic.params.distillation.methods: {name}",
                did_you_mean(name, METHODS, "`stillage ls methods` names them all."),
            )
    return [
        ExperimentPoint(
            condition=near_condition(
                Replacement(replaced=replaced),
                params.copies,
                method="" if method == TEACHER else method,
            ),
            series=method,
            x=replaced,
        )
        for method in (TEACHER, *params.methods)
        for replaced in params.replaced
    ]


DISTILLATION = MosaicExperiment(
    name="distillation",
    title="Through distillation",
    axis="tokens replaced in each near-copy of the teacher's data",
    params=Distillation,
    points=points,
    note=(
        "Students are taught on documents without a canary. sft asks no teacher: it is the control."
    ),
)
