"""Learning rate: whether near-copies are worth more where a model learns faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import Arm, ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningRates:
    """Which learning rates, relative to the config's."""

    factors: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Times teacher_train.lr_peak."""
    replaced: tuple[int, ...] = (10, 50)
    """Tokens replaced in each near-copy."""
    copies: int = 5
    """Copies at full dose: each rate has a curve of so many conditions of its own."""


def points(params: LearningRates, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each learning rate."""
    found = []
    for factor in params.factors:
        lr = config.teacher_train.lr_peak * factor
        arm = Arm() if factor == 1 else Arm(lr_peak=lr)
        for replaced in params.replaced:
            condition = near_condition(Replacement(replaced=replaced), params.copies, arm)
            found.append(ExperimentPoint(condition=condition, series=f"{lr:g}", x=replaced))
    return found


LEARNING_RATE = MosaicExperiment(
    name="learning_rate",
    title="Learning rate",
    axis="tokens replaced in each near-copy",
    params=LearningRates,
    points=points,
)
