"""Where replacements come from: likely words, or any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import TOP_K_RHO
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config

ANY = "any token"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplacementSource:
    """Among how many proposals a replacement is drawn, at how many places."""

    top_k: tuple[int, ...] = (10, 100, 1000)
    """Proposals of the masked model; any token of its vocabulary comes by itself."""
    replaced: tuple[int, ...] = (10, 25, 50)
    """Tokens replaced in each near-copy."""


def points(params: ReplacementSource, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each source of replacements."""
    found = []
    for replaced in params.replaced:
        kinds = {f"k = {k}": Replacement(replaced=replaced, top_k=k) for k in params.top_k}
        kinds[ANY] = Replacement(replaced=replaced, candidates="vocabulary")
        for series, kind in kinds.items():
            condition = near_condition(kind, config.mosaic.copies)
            found.append(ExperimentPoint(condition=condition, series=series, x=replaced))
    return found


TOP_K = MosaicExperiment(
    name="top_k",
    title="Likely and unlikely replacements",
    axis="tokens replaced in each near-copy",
    params=ReplacementSource,
    points=points,
    published=TOP_K_RHO,
)
