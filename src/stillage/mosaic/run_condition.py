"""A condition: train on documents that hold canaries, and measure those."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.measured import ConditionMeasures, train_and_measure
from stillage.mosaic.train_condition import Passes, Watch, canary_monitor, train_on_documents
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionTask:
    """All that a condition is made of, and how it is measured."""

    start: ModelReader  # the model that is trained, in place
    documents: Sequence[Array]  # ids, the copies in their places
    passes: Passes
    measured: ConditionMeasures
    monitor_every: int = 0  # steps between two AUCs, from 0; 0: at the end alone
    keeps_model: bool = False  # e.g. as a teacher; otherwise its weights are removed


def run_condition(task: ConditionTask, folder: Path, watch: Watch) -> None:
    """Train, monitor, score and recite a condition into its folder.

    folder/{scores, monitor, answers}.parquet, and what a training leaves (metrics.jsonl with the
    monitored AUC, train.log, summary.json, provenance.parquet). Called again, it goes on where it
    stopped: in the training, exactly, or behind it. Errors as `train_on_documents` and
    `score_canaries`.
    """
    start, measured = task.start, task.measured
    size = measured.settings.audit.batch_tokens
    monitor = canary_monitor(measured.canaries, task.monitor_every, batch_tokens=size)
    train_and_measure(
        partial(train_on_documents, start, task.documents, task.passes, folder, watch, monitor),
        start,
        measured,
        folder,
        keeps_model=task.keeps_model,
    )
