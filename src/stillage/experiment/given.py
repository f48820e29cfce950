"""Check the models that are given before anything is done: by their files alone, in dry runs too."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.partners import check_pair
from stillage.experiment.outside import outside_model
from stillage.models.source import check_adapter, check_folder_ahead

if TYPE_CHECKING:
    from stillage.experiment.context import Context
    from stillage.run.config import ModelConfig


def check_given(context: Context) -> None:
    """Refuse folders that are no models, adapters without their base, and one model as teacher and as student.

    Loads and fetches nothing: a hub id is checked when its turn comes. ModelError, ConfigError.
    """
    for start in dict.fromkeys(spec.start for spec in context.specs):
        if start.path:
            check_folder_ahead(start.path, start.revision)
        if start.adapter:
            check_adapter(start.adapter, needs_base=not start.path)
    given = [spec for spec in context.asked if not spec.is_trained and spec.start.source]
    keys = {spec.name: weights_named(spec.start) for spec in given}
    check_pair(keys, {spec.name: spec.start.source for spec in given})


def weights_named(start: ModelConfig) -> str:
    """Equal for two models of the same weights' files; of a hub id its name and commit."""
    files = sorted(
        digest for file, digest in outside_model(start).items() if ".safetensors" in Path(file).name
    )
    return " ".join(files) or f"{start.path} {start.revision}"
