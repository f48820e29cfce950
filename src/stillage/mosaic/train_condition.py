"""Train a model on documents, and watch its canaries on the way."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attacks.loss import loss
from stillage.distill.methods import METHODS
from stillage.distill.monitor import Monitor
from stillage.errors import DataError
from stillage.functional.stats import roc_auc
from stillage.mosaic.canary_reading import ModelReader, canary_examples, members
from stillage.mosaic.document_blocks import document_blocks
from stillage.mosaic.table_columns import MONITOR, table_schema
from stillage.run.config import TrainConfig
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa
    from transformers import PreTrainedModel

    from stillage.distill.journal import Report
    from stillage.distill.outputs import Summary

MONITORED = "canary_auc"
"""Name of the monitored AUC in metrics.jsonl and in the tracker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Passes:
    """How documents are read: blocks, optimiser, budget."""

    options: TrainConfig
    block_tokens: int
    seed: int  # of the order


def silent(facts: dict[str, object]) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """Who stops a training, and who hears of it."""

    should_stop: Callable[[], bool] = lambda: False
    report: Report = silent


def train_on_documents(
    start: ModelReader,
    documents: Sequence[Array],
    passes: Passes,
    folder: Path,
    watch: Watch,
    monitor: Monitor | None = None,
) -> Summary:
    """Train the model, in place, to predict documents (ids [T] each), cut in blocks.

    Of a condition: documents that hold canaries, from the base or from new weights. Of the base:
    the others (`pretraining`). Blocks as `document_blocks`, the tokenizer's own BOS, if any, at a
    document's start; method sft, one row a block (equal blocks need no packing), no
    validation. A folder in which it ended gives its summary at once, and leaves the model as it is.
    Errors as `distill.train.train`; Interrupted where it is told to stop, and then it continues.
    """
    from stillage.corpus.tokenizers import first_ids
    from stillage.distill.task import TrainingTask
    from stillage.distill.train import train

    method, begins = METHODS["sft"], first_ids(start.tokenizer)
    task = TrainingTask(
        student=start.model,
        tokenizer=start.tokenizer,
        method=method,
        params=method.params(),
        examples=document_blocks(documents, passes.block_tokens, first_ids=begins),
        validation=(),
        options=replace(passes.options, packing=False, validate_every=0.0, keep="last"),
        seed=passes.seed,
    )
    return train(task, folder, should_stop=watch.should_stop, report=watch.report, monitor=monitor)


def pretraining(
    options: TrainConfig, *, epochs: float, lr_peak: float, batch_size: int
) -> TrainConfig:
    """The options of a base's passes: those of a condition with another budget."""
    return replace(
        options,
        epochs=epochs,
        lr_peak=lr_peak,
        batch_size=batch_size,
        max_steps=0,
        max_trained_tokens=0,
        keep_checkpoints=0,
    )


def canary_monitor(canaries: pa.Table, every: int, *, batch_tokens: int = 16384) -> Monitor:
    """Measure the AUC of members against nonmembers by the loss attack on the way.

    Over the canaries' exact ids, as in the scores at the end. NaN where a loss is not a number.
    DataError, before anything is trained, for canaries that are all of one role.
    """
    examples, is_member = canary_examples(canaries), members(canaries)
    if is_member.all() or not is_member.any():
        values = f"members: {int(is_member.sum())}, nonmembers: {int((~is_member).sum())}"
        what = "Telling members from nonmembers needs both."
        raise DataError(what, values, "Give canaries of both roles.")

    def measure(model: PreTrainedModel) -> Mapping[str, float]:
        from stillage.models.query import token_stats

        stats = token_stats(model, examples, batch_tokens=batch_tokens)
        scores = np.array([loss(one) for one in stats])
        whole = bool(np.isfinite(scores).all())
        return {MONITORED: roc_auc(scores, is_member) if whole else float("nan")}

    return Monitor(measure=measure, every=every)


def monitor_table(folder: Path) -> pa.Table:
    """What was monitored in a training's folder, as rows of MONITOR."""
    import pyarrow as pa

    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [
        {"step": entry["step"], "attack": "loss", "auc": entry[MONITORED]}
        for entry in map(json.loads, lines)
        if MONITORED in entry
    ]
    return pa.Table.from_pylist(rows, table_schema(MONITOR))
