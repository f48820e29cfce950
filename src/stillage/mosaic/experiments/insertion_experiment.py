"""Insertion: what a near-copy is worth whose pieces stand apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import INSERTION_RHO
from stillage.mosaic.kinds import Insertion, Kind, Scatter
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class InsertedTokens:
    """How long the pieces are, and how far apart."""

    piece: tuple[int, ...] = (1, 2, 5, 10, 20, 50)
    """Tokens of a piece."""
    inserted: tuple[int, ...] = (1, 5, 10)
    """Random tokens between two pieces."""
    scatter: bool = True
    """Also pieces at places of their own, all over the documents."""


def points(params: InsertedTokens, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each number of inserted tokens, and one for scattered pieces."""
    found = []
    for piece in params.piece:
        kinds: dict[str, Kind] = {
            f"X = {count}": Insertion(piece=piece, inserted=count) for count in params.inserted
        }
        if params.scatter:
            kinds["scattered"] = Scatter(piece=piece)
        for series, kind in kinds.items():
            condition = near_condition(kind, config.mosaic.copies)
            found.append(ExperimentPoint(condition=condition, series=series, x=piece))
    return found


INSERTION = MosaicExperiment(
    name="insertion",
    title="Inserted tokens",
    axis="tokens of a piece (n), X random ones between two",
    params=InsertedTokens,
    points=points,
    published=INSERTION_RHO,
)
