"""Model size: whether a larger model makes more of near-copies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stillage.errors import ConfigError
from stillage.mosaic.condition import Arm, ExperimentPoint, MosaicExperiment, near_condition
from stillage.mosaic.kinds import Replacement
from stillage.run.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSizes:
    """Which models, from scratch or given."""

    sizes: tuple[str, ...] = ("2x96x4", "4x192x6", "6x256x8")
    """Layers x width x heads from scratch; or folders and hub ids with the tokenizer of
    teacher.path."""
    replaced: tuple[int, ...] = (10, 50)
    """Tokens replaced in each near-copy."""
    copies: int = 5
    """Copies at full dose: each size has a curve of so many conditions of its own."""


def points(params: ModelSizes, config: Config) -> Sequence[ExperimentPoint]:
    """One line for each model."""
    return [
        ExperimentPoint(
            condition=near_condition(Replacement(replaced=replaced), params.copies, arm),
            series=size,
            x=replaced,
        )
        for size, arm in ((size, arm_of(size, config)) for size in params.sizes)
        for replaced in params.replaced
    ]


def arm_of(size: str, config: Config) -> Arm:
    """Read one size; ConfigError for numbers that are no shape, or a path among them."""
    words = size.split("x")
    if len(words) == 3 and all(word.isdecimal() for word in words):
        layers, width, heads = map(int, words)
        teacher = config.teacher
        if teacher.path or min(layers, width, heads) < 1 or width % heads:
            raise ConfigError(
                "A model of this size cannot be made from scratch here.",
                f"size: {size}; teacher.path: {teacher.path or 'none'}",
                "Write LAYERSxWIDTHxHEADS with heads that divide the width, and no teacher.path.",
            )
        if (layers, width, heads) == (teacher.layers, teacher.width, teacher.heads):
            return Arm()
        return Arm(layers=layers, width=width, heads=heads)
    return Arm() if size == config.teacher.path else Arm(path=size)


MODEL_SIZE = MosaicExperiment(
    name="model_size",
    title="Model size",
    axis="tokens replaced in each near-copy",
    params=ModelSizes,
    points=points,
)
