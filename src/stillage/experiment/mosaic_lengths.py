"""Refuse what does not fit: pieces of canaries, texts longer than a context."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from stillage.errors import ConfigError
from stillage.experiment.mosaic_models import names_of
from stillage.experiment.mosaic_settings import canary_length
from stillage.models.limits import CONTEXT
from stillage.models.source import read_model_config, with_bases
from stillage.mosaic.asked import Asked, conditions_of
from stillage.mosaic.condition import Arm
from stillage.mosaic.kinds import Insertion, Kind, Replacement, Scatter, Shuffle
from stillage.run.config import Config, ModelConfig


def check_near_copies(config: Config, asked: Sequence[Asked]) -> None:
    """Refuse near-copies that canaries of the configured length cannot have.

    ConfigError as the modules that make them, with the name of the experiment.
    """
    length = canary_length(config)
    for one in asked:
        for point in one.points:
            try:
                check_near_copy(point.condition.kind, length)
            except ConfigError as error:
                values = f"mosaic.params.{one.experiment.name}: {error.values}"
                fix = f"{error.fix} Or change mosaic.canaries.length."
                raise ConfigError(error.what, values, fix) from error


def check_near_copy(kind: Kind | None, length: int) -> None:
    """Raise the ConfigError that making a near-copy of so many tokens would end with."""
    import numpy as np

    from stillage.mosaic import insertion, replacement, shuffle

    canaries = [range(length)]
    match kind:
        case Replacement():
            replacement.check(kind, length)
        case Insertion():
            insertion.inserted(canaries, kind, count=0, seed=0, others=np.zeros(1, np.int64))
        case Scatter():
            insertion.scattered(canaries, kind, count=1)
        case Shuffle():
            shuffle.inversions_for(kind.tau, kind.piece, length)
        case _:
            pass


def check_contexts(config: Config, asked: Sequence[Asked]) -> None:
    """Refuse texts that are longer than the context of a model that reads them."""
    mosaic, models = config.mosaic, names_of(config)
    conditions = conditions_of(asked)
    arms = {one.arm: models.untrained(one.arm) for one in conditions}
    blocks = {start: "teacher" for start in arms.values()}
    own = {start: "teacher" for arm, start in arms.items() if not arm.scan}
    canaries, windows = dict(own), dict[ModelConfig, str]()
    if any(one.method for one in conditions):
        name = "teacher" if mosaic.student_start == "base" else "student"
        student = {models.untrained_student(): name}
        canaries |= student
        windows = blocks | student
        blocks |= student if models.student_base() else {}
    if any(models.canaries_base(arm) for arm in arms):
        blocks[models.untrained(Arm())] = "teacher"
        check_within(
            "mosaic.canaries.length",
            canary_length(config),
            {models.untrained(Arm()): "teacher"},
            before=1,  # what the sampling begins with
        )
    check_within("mosaic.block_tokens", mosaic.block_tokens, blocks)
    check_within("mosaic.canaries.length", canary_length(config), canaries)
    tokens = mosaic.student_prompt_tokens + mosaic.student_response_tokens
    check_within("mosaic.student_prompt_tokens + mosaic.student_response_tokens", tokens, windows)


def check_within(
    setting: str, tokens: int, starts: dict[ModelConfig, str], before: int = 0
) -> None:
    """Refuse a length, with the tokens before it, that is over a model's context.

    starts: models with the names of their settings.
    """
    for start, name in starts.items():
        context = known_context(start)
        if context is not None and tokens + before > context:
            where = start.path or start.config or f"{name}.context"
            raise ConfigError(
                "A text would be longer than what the model can read.",
                f"{setting}: {tokens}; context: {context} tokens ({where})",
                f"Lower {setting} to {context - before}, or take a longer context.",
            )


def known_context(start: ModelConfig) -> int | None:
    """Say how many tokens a model can read, by its config; None: not known here."""
    if not start.source and not start.config:
        return start.context
    folders = [folder / "config.json" for folder in with_bases(start.path or start.adapter)]
    file = Path(start.config) if start.config else next(reversed(folders), None)
    if file is None or not file.is_file():
        return None
    content = read_model_config(file)
    text = content.get("text_config", content)
    name = CONTEXT.get(text.get("model_type", ""), "max_position_embeddings")
    tokens = text.get(name, text.get("n_positions"))
    return tokens if isinstance(tokens, int) and tokens > 0 else None
