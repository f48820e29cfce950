"""Distances: which of six tells best what a near-copy is worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment
from stillage.mosaic.experiments.insertion_experiment import INSERTION, InsertedTokens
from stillage.mosaic.experiments.replacement_experiment import REPLACEMENT, ReplacedTokens
from stillage.mosaic.experiments.shuffle_experiment import SHUFFLE, ShuffledPieces
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """Which near-copies are compared."""

    replaced: tuple[int, ...] = (1, 5, 10, 20, 50)
    """Tokens replaced."""
    piece: tuple[int, ...] = (5, 20)
    """Tokens of a piece that is set apart or moved."""
    inserted: tuple[int, ...] = (1, 5)
    """Random tokens between two pieces."""
    tau: tuple[float, ...] = (0.2, 0.6)
    """Kendall's distance of moved pieces of the first length."""


def points(params: Distances, config: Config) -> Sequence[ExperimentPoint]:
    """Replaced, inserted and shuffled near-copies; mostly those of other experiments."""
    given = {
        "replaced": REPLACEMENT.points(ReplacedTokens(replaced=params.replaced), config),
        "inserted": INSERTION.points(
            InsertedTokens(piece=params.piece, inserted=params.inserted, scatter=False), config
        ),
        "shuffled": SHUFFLE.points(ShuffledPieces(piece=params.piece[:1], tau=params.tau), config),
    }
    return [
        ExperimentPoint(
            condition=point.condition,
            series=series,
            x=point.x,
            label=f"{point.series + ', ' if point.series else ''}{point.x:g}",
        )
        for series, found in given.items()
        for point in found
    ]


DISTANCES = MosaicExperiment(
    name="distances",
    title="Rho by distance",
    axis="mean distance between canary and near-copy",
    params=Distances,
    points=points,
    shows="distance",
)
