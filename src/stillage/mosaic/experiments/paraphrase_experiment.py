"""Paraphrases: what a near-copy is worth that says the same in other words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.errors import ConfigError
from stillage.mosaic.condition import ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.experiments.published_values import PARAPHRASE_RHO
from stillage.mosaic.kinds import Paraphrase
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Paraphrases:
    """How the writer (mosaic.writer) is sampled."""

    sampling_temperature: float = 0.6
    """Temperature of the sampling."""
    top_p: float = 0.9
    """Nucleus sampling; 1: off."""
    canaries: int = 0
    """Only the first so many members are rephrased, and injected; 0: all. Writing takes long."""
    copies: int = 0
    """Copies at full dose; 0: mosaic.copies."""


def points(params: Paraphrases, config: Config) -> Sequence[ExperimentPoint]:
    """One point: the configured writer. ConfigError where there is none."""
    mosaic = config.mosaic
    if not mosaic.writer:
        raise ConfigError(
            "Nobody writes the paraphrases.",
            "mosaic.writer: none",
            "Give --mosaic.writer the folder of an instruct model or the address of an endpoint, "
            "or leave the experiment out.",
        )
    kind = Paraphrase(
        writer=mosaic.writer,
        writer_model=mosaic.writer_model,
        writer_revision=mosaic.writer_revision,
        canaries=params.canaries,
        sampling_temperature=params.sampling_temperature,
        top_p=params.top_p,
    )
    return [
        ExperimentPoint(
            condition=near_condition(kind, params.copies or mosaic.copies), label="paraphrases"
        )
    ]


PARAPHRASE = MosaicExperiment(
    name="paraphrase",
    title="Paraphrases",
    axis="writer",
    params=Paraphrases,
    points=points,
    published=PARAPHRASE_RHO,
)
