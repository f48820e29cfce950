"""What stages work with: the records of a part, a model's weights and tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.experiment.specs import ModelSpec
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


def spec_named(context: Context, name: str) -> ModelSpec:
    """Find the model of this name among those of the run."""
    return next(spec for spec in context.specs if spec.name == name)


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
    return model_source(context, spec_named(context, spec.starts_from))


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
