"""What stages work with: the records of a part, a model's weights and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.partners import check_pair
from stillage.experiment.specs import ModelSpec
from stillage.models.outside import weights_named
from stillage.models.source import adapter_of, check_folder_ahead
from stillage.rng import derive
from stillage.run.config import ModelConfig
from stillage.run.folder import write_table
from stillage.types import Part, Record, Result

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.experiment.context import Context


def records_of(context: Context, part: Part) -> list[Record]:
    """Return the records of one part, as the data stage wrote them."""
    from stillage.data.split import read_split

    return list(read_split(context.run / "data").records_by_part.get(part, []))


def write_ids(path: Path, ids: Sequence[str]) -> None:
    """Record which records reached a stage."""
    import pyarrow as pa

    write_table(path, pa.table({"id": pa.array(sorted(set(ids)), pa.string())}))


def model_source(context: Context, spec: ModelSpec) -> ModelConfig:
    """Say where the finished weights of a model are."""
    if not spec.is_trained:
        return spec.start
    return ModelConfig(path=str(context.run / spec.name / "model"), dtype=spec.start.dtype)


def tokenizer_of(context: Context, spec: ModelSpec) -> PreTrainedTokenizerFast:
    """Load the tokenizer that a model reads with."""
    from stillage.models.load import load_tokenizer

    if spec.is_trained or not spec.start.source:
        return load_tokenizer(str(context.run / "tokenizer"))
    return load_tokenizer(spec.start.source, spec.start.revision)


def start_of(context: Context, spec: ModelSpec) -> ModelConfig:
    """Say where training starts: from the model's own start, or another's weights."""
    if not spec.starts_from:
        return spec.start
    return model_source(context, context.model(spec.starts_from))


def load_untrained(
    context: Context, start: ModelConfig, tokenizer: PreTrainedTokenizerFast, kind: str
) -> PreTrainedModel:
    """Load where a training starts; kind: teacher or student, the seed of new weights."""
    from stillage.models.load import load_on_device

    return load_on_device(start, tokenizer, derive(context.config.seed, "weights", kind))


def check_given(context: Context) -> None:
    """Refuse non-models, adapters without a base, one model as teacher and student.

    By their files alone, before a run and in dry runs: a hub id is checked when it is loaded.
    ModelError, ConfigError.
    """
    for start in dict.fromkeys(spec.start for spec in context.specs):
        if start.path:
            check_folder_ahead(start.path, start.revision)
        if start.adapter:
            adapter_of(start.adapter, needs_base=not start.path)
    given = [spec for spec in context.asked if not spec.is_trained and spec.start.source]
    keys = {spec.name: weights_named(spec.start) for spec in given}
    check_pair(keys, {spec.name: spec.start.source for spec in given})


def use_threads(context: Context) -> None:
    """Compute on as many CPU threads as the config says."""
    import torch

    if context.config.threads:
        torch.set_num_threads(context.config.threads)


def load_finished(
    context: Context, spec: ModelSpec, tokenizer: PreTrainedTokenizerFast
) -> PreTrainedModel:
    """Load a finished model, on the best device."""
    from stillage.models.load import load_on_device

    return load_on_device(model_source(context, spec), tokenizer)


def base_result(context: Context, stage: str) -> Result:
    """Fill what a stage's results share; the report writes the run's id into them."""
    return Result(
        run="",
        stage=stage,
        model="",
        metric="",
        value=float("nan"),
        seed=context.config.seed,
        method=context.config.distill.method if "distill" in context.config.stages else "",
    )
