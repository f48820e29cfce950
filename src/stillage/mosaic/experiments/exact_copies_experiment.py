"""Exact copies: how well members are told from nonmembers as they repeat."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import Condition, ExperimentPoint, MosaicExperiment
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ExactCopies:
    """There is nothing to choose: 1 to mosaic.copies copies."""


def points(params: ExactCopies, config: Config) -> Sequence[ExperimentPoint]:
    """One point for each number of copies."""
    return [
        ExperimentPoint(condition=Condition(exact=count), x=count)
        for count in range(1, config.mosaic.copies + 1)
    ]


EXACT_COPIES = MosaicExperiment(
    name="exact_copies",
    title="Exact copies",
    axis="exact copies of each canary",
    params=ExactCopies,
    points=points,
    shows="auc",
)
