"""What decides a training, by content: what is on disk answers that call alone."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.distill.batches import canonical, fingerprint
from stillage.distill.task import TrainingTask
from stillage.errors import CheckpointError
from stillage.models.identity import generation_hash, model_hash
from stillage.run.stages import by_full_name, shortened
from stillage.types import Rollout

SCHEMA = 3  # raise it when the same inputs would be trained to another result
FREE = ("micro_batch_size", "checkpoint_every_s", "gradient_checkpointing", "packing")
"""Options that a resumed training may change: they decide memory and time, not the result."""


def training_identity(task: TrainingTask) -> dict[str, Any]:
    """All that decides the trained weights and their folder, as a JSON-able dict.

    Models, tokenizer and data are there by their content. The number of threads and of processes
    and the processor are not: they move the last digits alone. Costs a pass over the models'
    weights, about a second for each GB.
    """
    options, teacher = dataclasses.asdict(task.options), task.teacher
    params = dataclasses.asdict(task.params)  # pyright: ignore[reportArgumentType]
    return {
        "schema": SCHEMA,
        "method": task.method.name,
        "params": params | params.pop("sampling", {}),
        "rollout": rollout_settings(task.rollout),
        **{name: value for name, value in options.items() if name not in FREE},
        "seed": task.seed,
        "data": fingerprint(canonical(task.examples)),
        "validation": fingerprint(canonical(task.validation)),
        "tokenizer": tokenizer_hash(task.tokenizer),
        "initial_weights": model_hash(task.student),
        "teacher": None if teacher is None else f"{model_hash(teacher)} {generation_hash(teacher)}",
        **({} if task.corpus is None else {"corpus": task.corpus.identity()}),
    }


def rollout_settings(rollout: Rollout) -> dict[str, Any]:
    """The settings of a rollout; the rest of it is code, of method and schema."""
    settings = dataclasses.asdict(rollout).items()
    plain = {name: value for name, value in settings if value is not None and not callable(value)}
    return {"kind": type(rollout).__name__, **plain}


def refuse_other(what: str, saved: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """Refuse what another training left on disk, naming what differs.

    what: e.g. "The checkpoint PATH". Raises CheckpointError.
    """
    there, here = by_full_name(saved), by_full_name(json.loads(json.dumps(identity)))
    changed = [name for name in sorted({*there, *here}) if there.get(name) != here.get(name)]
    if not changed:
        return
    if there.get("schema") != here.get("schema"):
        raise CheckpointError(
            f"{what} was written by another version of Stillage.",
            f"schema: {there.get('schema')} there, {here.get('schema')} here",
            "Use another output folder, or remove this one.",
        )
    both = (
        f"{name}: {shortened(there.get(name), 24)} there, {shortened(here.get(name), 24)} here"
        for name in changed[:4]
    )
    fix = "Use the inputs and settings it was started with, or another output folder."
    raise CheckpointError(f"{what} belongs to another training.", "; ".join(both), fix)
