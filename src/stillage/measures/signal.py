"""Teacher divergence: teacher and student against those that never met members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from stillage.audit.teacher_divergence import PAIRS
from stillage.measures.measure import Measure, Measured, MeasureInput
from stillage.types import Array, Part

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.given import AuditModel, AuditSettings
    from stillage.types import Record

COMPARED: tuple[Part, ...] = ("public", "private", "nonmembers")
TWINS = {"teacher", "teacher_counterfactual"}


def measure_signal(given: MeasureInput) -> Measured:
    """Measure models' KL from their twins: quantiles, and correlations with scores."""
    from stillage.audit.teacher_divergence import Signals, signal_results, signal_table

    settings = given.settings
    records, parts = compared_records(given)
    by_name = {model.name: model for model in given.models}
    kl: dict[str, Array] = {}
    for name, twin in PAIRS.items():
        if name in by_name and twin in by_name:
            settings.progress(settings.stage, {"model": name})
            kl[name] = kl_of_pair(by_name[name], by_name[twin], records, settings)
    signals = Signals(
        ids=tuple(record.id for record in records),
        parts=parts,
        groups=given.split.group_names(records),
        kl=kl,
    )
    shown = student_scores(given.read("audit/scores"), settings.audit.attacks)
    results = signal_results(signals, shown, level=settings.audit.level, base=settings.base)
    return Measured(tables={"signal": signal_table(signals)}, results=results)


def compared_records(given: MeasureInput) -> tuple[list[Record], tuple[str, ...]]:
    """Draw the records to compare on, and their parts.

    At most audit.signal_records of each part: whole groups of answered records, without those that
    leave the evaluation.
    """
    from stillage.audit.audit_records import sorted_parts
    from stillage.audit.draw_records import some_groups
    from stillage.data.unanswered import with_answers

    split, settings = given.split, given.settings
    everybody, everyone = sorted_parts(split, COMPARED, given.records.left)
    answered = {record.id for record in with_answers(everybody)}
    kept = [index for index, record in enumerate(everybody) if record.id in answered]
    records, parts = [everybody[index] for index in kept], [everyone[index] for index in kept]
    most = settings.audit.signal_records
    return some_groups(records, parts, split.group_names(records), most, settings.seed, "signal")


def kl_of_pair(
    model: AuditModel, twin: AuditModel, records: Sequence[Record], settings: AuditSettings
) -> Array:
    """Mean KL of a model from its twin on every record, float64[N], in nats per token."""
    from stillage.data.tokenise import make_examples
    from stillage.models.limits import shortest_context
    from stillage.models.pairwise_kl import mean_kl

    tokenizer = model.load_tokenizer()
    first, second = model.load(tokenizer), twin.load(tokenizer)
    limit, what = shortest_context(first, second), f"{model.name}, signal"
    examples = make_examples(records, tokenizer, settings.data, limit, what=what)
    progress = settings.doing(model.name)(f"comparing {{}} records with {twin.name}")
    return mean_kl(
        first, second, examples, batch_tokens=settings.audit.batch_tokens, progress=progress
    )


def student_scores(scores: pa.Table, attacks: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the student's score of each record by id, for every attack asked for."""
    from stillage.audit.scores import Scores

    read = Scores(scores)
    known = [name for name in attacks if ("student", name) in read.pairs]
    return {name: read.of("student", name, with_missing=True).by_id for name in known}


SIGNAL = Measure(
    name="signal",
    is_asked=lambda config, models: config.audit.signal_records > 0 and TWINS.issubset(models),
    reads=("signal_records", "attacks", "level"),
    evaluates=False,
    needs=("audit",),
    run=measure_signal,
    schema=3,
)
