"""What a finished training leaves in its folder: models, tables, a summary."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillage.distill.loop import Loop
from stillage.distill.training_identity import refuse_other
from stillage.models.load import save_model
from stillage.run.folder import atomic, read_json, remove, write_json, write_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What a training did. All but the timings is a function of its inputs."""

    method: str
    steps: int
    epochs: float
    records: int  # different examples that were trained on, at least once
    left_out: int  # examples without a trained token
    trained_tokens: int
    validation_loss: float | None  # of the last weights, nats per token
    best_validation_loss: float | None  # of the best weights
    best_step: int | None
    best_rouge_l: float | None  # of those weights, where validations were compared by it
    model_step: int  # after how many steps the weights in model/ were taken
    timings: dict[str, float] = field(default_factory=dict)  # train_s, tokens_per_s


def summarised(loop: Loop, *, left_out: int) -> Summary:
    """The summary of a training that has come to its end."""
    plan, state, best = loop.plan, loop.state, loop.state.best
    seconds = loop.journal.seconds() if loop.journal is not None else 0.0
    chosen = best if plan.options.keep == "best" else None
    return Summary(
        method=plan.task.method.name,
        steps=state.step,
        epochs=round(state.step / plan.per_epoch, 4),
        records=len(loop.times),
        left_out=left_out,
        trained_tokens=state.trained_tokens,
        validation_loss=state.validation_loss,
        best_validation_loss=best.loss if best else None,
        best_step=best.step if best else None,
        best_rouge_l=best.rouge_l if best else None,
        model_step=chosen.step if chosen else state.step,
        timings={
            "train_s": round(seconds, 3),
            "tokens_per_s": round(state.trained_tokens / max(seconds, 1e-9), 1),
        },
    )


def write_outputs(loop: Loop, summary: Summary, identity: dict[str, Any]) -> None:
    """Write the model first, remove the checkpoints last: a kill costs no more steps."""
    import pyarrow as pa

    folder, best = loop.plan.folder, loop.state.best
    checkpoints = folder / "checkpoints"
    keeps_best = summary.model_step != summary.steps
    last = folder / ("last" if keeps_best else "model")
    save_model(loop.objective.student, loop.plan.task.tokenizer, last)
    if best is not None and best.step != summary.steps:
        with atomic(folder / ("model" if keeps_best else "best")) as temporary:
            shutil.copytree(checkpoints / best.folder, temporary)
    for kept in loop.state.kept:
        with atomic(folder / "kept" / kept.folder) as temporary:
            shutil.copytree(checkpoints / kept.folder, temporary)
    schema = pa.schema([("id", pa.string()), ("times", pa.int32())])
    rows = [{"id": name, "times": loop.times[name]} for name in sorted(loop.times)]
    write_table(folder / "provenance.parquet", pa.Table.from_pylist(rows, schema))
    write_json(folder / "summary.json", {**dataclasses.asdict(summary), "identity": identity})
    remove(checkpoints)


def finished_training(folder: Path, identity: dict[str, Any]) -> Summary | None:
    """The summary of this very training, if it has ended in the folder before.

    Raises CheckpointError where another training has ended there.
    """
    path = folder / "summary.json"
    if not path.is_file() or not (folder / "model").is_dir():
        return None
    content = read_json(path)
    saved = content.pop("identity", None)
    saved = saved if isinstance(saved, dict) else {}  # earlier versions kept a hash alone
    refuse_other(f"The finished training in {folder}", saved, identity)
    return Summary(**content)
