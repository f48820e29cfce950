"""Canary temperature: whether unlikely texts make more of near-copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import Arm, ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Temperatures:
    """At which temperatures canaries are sampled."""

    temperatures: tuple[float, ...] = (1.0, 2.5, 5.0)
    """Sampling temperatures of the canaries."""
    replaced: tuple[int, ...] = (10, 50)
    """Tokens replaced in each near-copy."""
    copies: int = 5
    """Copies at full dose: each temperature has a curve of so many conditions of its own."""


def points(params: Temperatures, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each temperature."""
    usual = config.mosaic.canaries.sampling_temperature
    found = []
    for temperature in params.temperatures:
        arm = Arm() if temperature == usual else Arm(sampling_temperature=temperature)
        for replaced in params.replaced:
            condition = near_condition(Replacement(replaced=replaced), params.copies, arm)
            found.append(
                ExperimentPoint(condition=condition, series=f"T = {temperature:g}", x=replaced)
            )
    return found


TEMPERATURE = MosaicExperiment(
    name="temperature",
    title="Temperature of the canaries",
    axis="tokens replaced in each near-copy",
    params=Temperatures,
    points=points,
)
