"""Extraction: whether a model goes on reciting a canary from its first half."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.mosaic.condition import Condition, ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import EXTRACTION_BLEU
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config

EXACT, NEAR = "exact copies", "near-copies"


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """At how many exact copies, and at how many replaced tokens."""

    copies: tuple[int, ...] = (1, 10)
    """Numbers of exact copies, up to mosaic.copies."""
    replaced: tuple[int, ...] = (1, 5, 10, 20, 50)
    """Tokens replaced in each near-copy."""


def points(params: Extraction, config: Config) -> Sequence[ExperimentPoint]:
    """Exact copies, and near-copies by their replaced tokens."""
    top = config.mosaic.copies
    counts = sorted({min(count, top) for count in params.copies})
    exact = [
        ExperimentPoint(
            condition=Condition(exact=count), series=EXACT, x=count, label=f"{count} exact"
        )
        for count in counts
    ]
    near = [
        ExperimentPoint(
            condition=near_condition(Replacement(replaced=replaced), top),
            series=NEAR,
            x=replaced,
            label=f"R = {replaced}",
        )
        for replaced in params.replaced
    ]
    return [*exact, *near]


EXTRACTION = MosaicExperiment(
    name="extraction",
    title="Extraction",
    axis="what the documents held",
    params=Extraction,
    points=points,
    shows="recital",
    published=EXTRACTION_BLEU,
    note=(
        "The first half of a canary (50 tokens at most) is the prompt; the greedy continuation is "
        "compared with the rest. The published near-copies are of a larger model than its exact "
        "copies."
    ),
)
