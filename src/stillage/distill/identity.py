"""What decides a training, by content: a checkpoint or a finished folder answers only the call that it was made for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.corpus.tokenizers import tokenizer_hash
from stillage.distill.batches import canonical, fingerprint
from stillage.errors import CheckpointError
from stillage.models.identity import generation_hash, model_hash
from stillage.run.config import TrainConfig
from stillage.run.stages import by_full_name, shortened
from stillage.types import Example, Method, Rollout

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.corpus.lm_text import PlainTextLoss

SCHEMA = 2  # raise it when the same inputs would be trained to another result
FREE = ("micro_batch_size", "checkpoint_every_s", "gradient_checkpointing", "packing")
"""Options that a resumed training may change: they decide memory and time, not the result (beyond the last digits)."""


def identity_of(
    *,
    student: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    teacher: PreTrainedModel | None,
    method: Method,
    params: object,
    rollout: Rollout | None,
    examples: Sequence[Example],
    validation: Sequence[Example],
    options: TrainConfig,
    seed: int,
    corpus: PlainTextLoss | None,
) -> dict[str, Any]:
    """All that decides the trained weights and the folder they are saved in, as a JSON-able dict.

    Models, tokenizer and data are there by their content. The number of threads and of processes and the processor are
    not: they move the last digits alone. Costs a pass over the models' weights, about a second for each GB.
    """
    kept = {name: value for name, value in dataclasses.asdict(options).items() if name not in FREE}
    return {
        "schema": SCHEMA,
        "method": method.name,
        "params": dataclasses.asdict(params),  # pyright: ignore[reportArgumentType]
        "rollout": None if rollout is None else rollout_of(rollout),
        **kept,
        "seed": seed,
        "data": fingerprint(canonical(examples)),
        "validation": fingerprint(canonical(validation)),
        "tokenizer": tokenizer_hash(tokenizer),
        "initial_weights": model_hash(student),
        "teacher": None if teacher is None else f"{model_hash(teacher)} {generation_hash(teacher)}",
        **({} if corpus is None else {"corpus": corpus.identity()}),
    }


def rollout_of(rollout: Rollout) -> dict[str, Any]:
    """The settings of a rollout; what it does beyond them is code, of the method and of the schema."""
    settings = {entry.name: getattr(rollout, entry.name) for entry in dataclasses.fields(rollout)}
    plain = {
        name: value
        for name, value in settings.items()
        if isinstance(value, bool | int | float | str)
    }
    return plain | {"start": dataclasses.asdict(rollout.start)}


def refuse_other(what: str, saved: Mapping[str, Any], identity: Mapping[str, Any]) -> None:
    """CheckpointError, naming what differs, unless something on disk was made by the same training.

    what: e.g. "The checkpoint PATH".
    """
    saved, identity = by_full_name(saved), by_full_name(json.loads(json.dumps(identity)))
    changed = [
        name for name in sorted({*saved, *identity}) if saved.get(name) != identity.get(name)
    ]
    if not changed:
        return
    if saved.get("schema") != identity.get("schema"):
        raise CheckpointError(
            f"{what} was written by another version of Stillage.",
            f"schema: {saved.get('schema')} there, {identity.get('schema')} here",
            "Use another output folder, or remove this one.",
        )
    raise CheckpointError(
        f"{what} belongs to another training.",
        "; ".join(
            f"{name}: {shortened(saved.get(name), 24)} there, {shortened(identity.get(name), 24)} here"
            for name in changed[:4]
        ),
        "Use the inputs and settings it was started with, or another output folder.",
    )


def refuse_finished(folder: Path, saved: object, identity: Mapping[str, Any]) -> None:
    """CheckpointError where the training that ended in a folder is another one: its model is not overwritten."""
    known = saved if isinstance(saved, dict) else {}  # earlier versions kept a hash alone
    refuse_other(f"The finished training in {folder}", known, identity)
