"""Shuffling: what a near-copy is worth whose pieces stand in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import SHUFFLE_RHO
from stillage.mosaic.kinds import Shuffle
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledPieces:
    """How long the pieces are, and how far their order is from the canary's."""

    piece: tuple[int, ...] = (2, 5, 10)
    """Tokens of a piece."""
    tau: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8)
    """Share of token pairs that stand in the other order."""


def points(params: ShuffledPieces, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each length of pieces."""
    return [
        ExperimentPoint(
            condition=near_condition(Shuffle(piece=piece, tau=tau), config.mosaic.copies),
            series=f"n = {piece}",
            x=tau,
        )
        for piece in params.piece
        for tau in params.tau
    ]


SHUFFLE = MosaicExperiment(
    name="shuffle",
    title="Shuffled pieces",
    axis="Kendall's distance (share of token pairs in the other order)",
    params=ShuffledPieces,
    points=points,
    published=SHUFFLE_RHO,
)
