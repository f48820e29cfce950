"""What the stages of a mosaic run read of earlier ones.

Names, settings, models and texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from stillage.experiment.mosaic_models import names_of
from stillage.experiment.mosaic_settings import (
    BOOKS,
    BOOKS_FILE,
    CANARIES_FILE,
    MASKED,
    TOKENIZER,
    canaries_name,
    other_parties,
)
from stillage.mosaic.condition import Arm, Condition
from stillage.rng import derive
from stillage.run.config import ModelConfig
from stillage.run.folder import read_table
from stillage.run.progress import Done, watched

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedTokenizerFast

    from stillage.experiment.context import Context
    from stillage.models.masked import Masked
    from stillage.mosaic.canary_reading import ModelReader
    from stillage.types import Array, Party


def progress_of(context: Context, stage: str, what: str) -> Done:
    """Return what a loop of a stage tells of its progress."""
    return watched(lambda facts: context.progress(stage, facts), stage)(what)


def tokenizer_in(context: Context) -> PreTrainedTokenizerFast:
    """Load the tokenizer of the run."""
    from stillage.models.load import load_tokenizer

    return load_tokenizer(str(context.run / TOKENIZER))


def texts_in(context: Context, *, hosts: bool | None = None) -> list[str]:
    """Read the documents: those that hold canaries, the others, or (None) all."""
    table = read_table(context.run / BOOKS / BOOKS_FILE)
    if hosts is not None:
        table = table.filter(table["is_host"].to_numpy() == hosts)
    return table["text"].to_pylist()


def canaries_in(context: Context, arm: Arm) -> pa.Table:
    """Read the canaries of an arm."""
    return read_table(context.run / canaries_name(arm) / CANARIES_FILE)


def canary_facts(context: Context) -> dict[str, Any]:
    """Return the settings of canaries.

    Where their file is given, counts and length are its.
    """
    options = context.config.mosaic.canaries
    settings = asdict(options)
    if not options.file:
        return settings
    canaries = canaries_in(context, Arm())
    roles = canaries["role"].to_pylist()
    counts = {f"{role}s": roles.count(role) for role in ("member", "nonmember")}
    return {**settings, **counts, "length": len(canaries["ids"][0])}


def arm_start(context: Context, arm: Arm) -> ModelConfig:
    """Say where the model of an arm starts: from its base, where it has one."""
    models = names_of(context.config)
    start, base = models.untrained(arm), models.base(arm)
    return ModelConfig(path=str(context.run / base / "model"), dtype=start.dtype) if base else start


def student_start(context: Context) -> ModelConfig:
    """Say where students start."""
    models = names_of(context.config)
    start, base = models.untrained_student(), models.student_base()
    return ModelConfig(path=str(context.run / base / "model"), dtype=start.dtype) if base else start


def condition_start(context: Context, condition: Condition) -> ModelConfig:
    """Say where the model of a condition starts, a student's own start included."""
    return student_start(context) if condition.method else arm_start(context, condition.arm)


def other_models(context: Context, condition: Condition) -> dict[Party, ModelReader]:
    """Load the other models that attacks ask: the reference, and the weights before.

    The reference, inside or outside of the run, is the given one, else the weights that the model
    of the condition started from.
    """
    given, asked = names_of(context.config).reference(), other_parties(context.config)
    begun: tuple[Party, ...] = ("initial",) if given.source else tuple(asked)
    found: dict[Party, ModelReader] = {}
    if given.source and asked - {"initial"}:
        reader = reader_of(context, given, own_tokenizer=True)
        found |= dict.fromkeys(asked - {"initial"}, reader)
    if asked & {*begun}:
        reader = reader_of(context, condition_start(context, condition))
        found |= dict.fromkeys(asked & {*begun}, reader)
    return found


def reader_of(context: Context, start: ModelConfig, *, own_tokenizer: bool = False) -> ModelReader:
    """Load a model on the best device, with the run's tokenizer or its own."""
    from stillage.models.load import load_on_device, load_tokenizer
    from stillage.mosaic.canary_reading import ModelReader

    own = own_tokenizer and start.source
    tokenizer = load_tokenizer(start.source, start.revision) if own else tokenizer_in(context)
    seed = derive(context.config.mosaic.pretrain_seed, "weights", "mosaic")
    return ModelReader(model=load_on_device(start, tokenizer, seed), tokenizer=tokenizer)


def encoded_documents(context: Context, texts: Sequence[str]) -> list[Array]:
    """Encode documents without special tokens, ids [T] each."""
    import numpy as np

    from stillage.models.quiet import quiet

    tokenizer = tokenizer_in(context)
    with quiet():  # of its warning that a document is longer than the context
        found = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return [np.asarray(ids, np.int32) for ids in found]


def masked_in(context: Context) -> Masked:
    """Load the masked model of the run."""
    from stillage.models.limits import device_name
    from stillage.models.masked import load_masked

    mosaic = context.config.mosaic
    if mosaic.masked_model:
        return load_masked(mosaic.masked_model, mosaic.masked_revision, device_name())
    (folder,) = (context.run / MASKED).glob("masked-*")
    return load_masked(str(folder), device=device_name())
