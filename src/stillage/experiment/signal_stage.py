"""The signal stage: the teacher, and its student, against those that never met the members, on the same texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.audit.signal import PAIRS
from stillage.experiment.inputs import (
    base_result,
    examples_of,
    load_finished,
    shortest_context,
    some_groups,
    tokenizer_of,
    use_threads,
)
from stillage.experiment.left_out import left_out
from stillage.run.folder import read_table, write_table
from stillage.run.results import write_results
from stillage.types import Part, Record

if TYPE_CHECKING:
    from stillage.experiment.plan import Context
    from stillage.experiment.specs import ModelSpec

PARTS: tuple[Part, ...] = ("public", "private", "nonmembers")


def has_signal(specs: Sequence[ModelSpec], records: int) -> bool:
    """Are there two teachers to compare, and is it asked for?"""
    return records > 0 and {"teacher", "teacher_counterfactual"} <= {spec.name for spec in specs}


def signal(context: Context, folder: Path) -> None:
    """KL per record between teacher and counterfactual teacher, and between their students; quantiles and correlations."""
    from stillage.audit.signal import Signals, signal_results, signal_table
    from stillage.data.split import read_split
    from stillage.models.pairwise_kl import mean_kl

    config = context.config
    use_threads(context)
    records, parts = signal_records(context)
    by_name = {spec.name: spec for spec in context.specs}
    kl = {}
    for name, twin in PAIRS.items():
        if name in by_name and twin in by_name:
            context.progress("signal", {"model": name})
            pair = by_name[name], by_name[twin]
            tokenizer = tokenizer_of(context, pair[0])
            first, second = (load_finished(context, spec, tokenizer) for spec in pair)
            examples = examples_of(
                records,
                tokenizer,
                config.data,
                shortest_context(first, second),
                what=f"{name}, signal",
            )
            progress = context.doing("signal", name)(f"comparing {{}} records with {twin}")
            kl[name] = mean_kl(
                first, second, examples, batch_tokens=config.audit.batch_tokens, progress=progress
            )
    groups = read_split(context.run / "data").group_names(records)
    signals = Signals(ids=tuple(record.id for record in records), parts=parts, groups=groups, kl=kl)
    base = base_result(context, "signal")
    write_table(folder / "signal.parquet", signal_table(signals))
    write_results(
        folder / "results.parquet",
        signal_results(signals, shown_by(context), level=config.audit.level, base=base),
    )


def signal_records(context: Context) -> tuple[list[Record], tuple[str, ...]]:
    """The answered records that teachers are compared on, at most audit.signal_records of each part, whole groups drawn.

    Without those that leave the evaluation (left_out).
    """
    from stillage.data.split import read_split
    from stillage.data.unanswered import with_answers

    split = read_split(context.run / "data")
    left = left_out(context, split)
    records: list[Record] = []
    parts: list[str] = []
    for part in PARTS:
        found = (
            record
            for record in with_answers(split.records_by_part.get(part, ()))
            if record.id not in left
        )
        records += sorted(found, key=lambda record: record.id)
        parts += [part] * (len(records) - len(parts))
    most = context.config.audit.signal_records
    return some_groups(
        records, parts, split.group_names(records), most, context.config.seed, "signal"
    )


def shown_by(context: Context) -> dict[str, dict[str, float]]:
    """attack -> record id -> the student's score, of the attacks that the configuration names."""
    import pyarrow.compute as pc

    table = read_table(context.run / "audit" / "scores.parquet").filter(
        pc.field("model") == "student"
    )
    shown: dict[str, dict[str, float]] = {name: {} for name in context.config.audit.attacks}
    for row in table.select(["attack", "id", "score"]).to_pylist():
        if row["attack"] in shown and row["score"] is not None:
            shown[row["attack"]][row["id"]] = row["score"]
    return {name: scores for name, scores in shown.items() if scores}
