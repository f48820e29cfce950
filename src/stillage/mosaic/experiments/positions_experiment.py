"""Where tokens are replaced: elsewhere in each near-copy, or in all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacedPlaces:
    """How many tokens are replaced."""

    replaced: tuple[int, ...] = (10, 25, 50)
    """Tokens replaced in each near-copy."""


def points(params: ReplacedPlaces, config: Config) -> Sequence[ExperimentPoint]:
    """One line each for different, equal and evenly spread places."""
    found = []
    for replaced in params.replaced:
        kinds = {
            "different places": Replacement(replaced=replaced),
            "same places": Replacement(replaced=replaced, places="same"),
            "different, evenly spread": Replacement(replaced=replaced, spread=True),
        }
        for series, kind in kinds.items():
            condition = near_condition(kind, config.mosaic.copies)
            found.append(ExperimentPoint(condition=condition, series=series, x=replaced))
    return found


POSITIONS = MosaicExperiment(
    name="positions",
    title="Same and different places",
    axis="tokens replaced in each near-copy",
    params=ReplacedPlaces,
    points=points,
    note=(
        "Replaced at the same places, near-copies agree in all other tokens; at different places, "
        "any two of them agree in fewer."
    ),
)
