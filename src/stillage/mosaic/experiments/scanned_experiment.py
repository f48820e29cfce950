"""Real near-duplicates: what those that a corpus scan found are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.errors import ConfigError
from stillage.mosaic.condition import Arm, ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import SCANNED_RHO
from stillage.mosaic.kinds import Scanned
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedHits:
    """Which hits of which scan."""

    scan: str = ""
    """Folder of a finished `stillage corpus scan`, whose targets become the canaries."""
    distances: tuple[int, ...] = (1, 10, 20, 30, 40, 50)
    """Borders of the distances: above each up to the next."""
    copies: int = 4
    """Copies at full dose: a canary needs so many near-duplicates less one in every range."""


def points(params: ScannedHits, config: Config) -> Sequence[ExperimentPoint]:
    """One point for each range of distances. ConfigError without a scan."""
    if not params.scan or len(params.distances) < 2:
        raise ConfigError(
            "Which near-duplicates are injected again?",
            f"mosaic.params.scanned.scan: {params.scan or 'none'}; distances: {params.distances}",
            "Give the folder of a `stillage corpus scan`, and two distances or more.",
        )
    found = []
    for low, high in zip(params.distances, params.distances[1:], strict=False):
        first = low if low == params.distances[0] else low + 1
        kind = Scanned(scan=params.scan, min_distance=first, max_distance=high)
        condition = near_condition(kind, params.copies, Arm(scan=params.scan))
        found.append(ExperimentPoint(condition=condition, x=high, label=f"{first} to {high}"))
    return found


SCANNED = MosaicExperiment(
    name="scanned",
    title="Near-duplicates that a scan found",
    axis="distance of the near-duplicates, in tokens",
    params=ScannedHits,
    points=points,
    published=SCANNED_RHO,
)
