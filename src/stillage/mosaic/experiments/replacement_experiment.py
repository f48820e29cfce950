"""Replacement: what a near-copy is worth by how many of its tokens are others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import REPLACEMENT_RHO
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedTokens:
    """How many tokens are replaced, and among how many likely ones."""

    replaced: tuple[int, ...] = (1, 5, 10, 15, 20, 25, 50, 75)
    """Tokens replaced in each near-copy."""
    top_k: int = 10
    """A token is drawn among this many proposals of the masked model."""


def points(params: ReplacedTokens, config: Config) -> Sequence[ExperimentPoint]:
    """One point for each number of replaced tokens."""
    return [
        ExperimentPoint(condition=near_condition(kind, config.mosaic.copies), x=kind.replaced)
        for kind in (
            Replacement(replaced=replaced, top_k=params.top_k) for replaced in params.replaced
        )
    ]


REPLACEMENT = MosaicExperiment(
    name="replacement",
    title="Replaced tokens",
    axis="tokens replaced in each near-copy",
    params=ReplacedTokens,
    points=points,
    published=REPLACEMENT_RHO,
)
