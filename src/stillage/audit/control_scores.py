"""Controls: blind attackers, models that met no member, the untrained student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attack_settings import attacks_of
from stillage.audit.control_models import ALONE as NO_TEACHER
from stillage.audit.control_models import CLEAN, CLEAN_TEACHER, OUTSIDE
from stillage.audit.controls import Control
from stillage.audit.given import AuditModel, AuditSettings, TrainingFacts
from stillage.data.tokenise import make_examples
from stillage.models.limits import shortest_context
from stillage.types import Array, Attack, Query, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords

CONTROLS = (NO_TEACHER, OUTSIDE, CLEAN, CLEAN_TEACHER)
"""Models that never met a private record, nor a teacher that did."""
UNTRAINED = "student_untrained"
"""The weights that the student's training started from."""
ALONE = Query(party="target")
TEXT = Query(party="record", transform="text")


def controls_of(scores: pa.Table) -> dict[str, Control]:
    """Collect the scored controls: blind attackers, and models that met no member.

    A control without a single finite score of either kind is none (check_answers counts it).
    """
    from stillage.audit.scores import BLIND, Scores, is_cross_fitted

    controls: dict[str, Control] = {}
    read = Scores(scores)
    for model, attack in read.pairs:
        scored = read.of(model, attack)
        if scored.has_both and model in (BLIND, UNTRAINED, *CONTROLS):
            name = f"blind {attack}" if model == BLIND else f"{attack} on {model}"
            family = "blind" if model == BLIND else "untrained" if model == UNTRAINED else "trained"
            controls[name] = Control(
                family=family, scored=scored, cross_fitted=is_cross_fitted(model, attack)
            )
    return controls


def untrained_controls(
    facts: TrainingFacts, student: AuditModel | None, records: AuditRecords, settings: AuditSettings
) -> dict[str, Control]:
    """Run the one-pass attacks on the student before its training: one forward pass."""
    import pyarrow as pa

    from stillage.audit.membership import score_rows, score_schema

    if facts.load_untrained is None or student is None:
        return {}
    chosen = [
        attack
        for attack in attacks_of(settings.audit)
        if ALONE in attack.queries and set(attack.queries) <= {ALONE, TEXT}
    ]
    scores = untrained_scores(facts, student, records.records, chosen, settings)
    tables = [
        score_rows(records.audited, UNTRAINED, name, values) for name, values in scores.items()
    ]
    return controls_of(pa.concat_tables([score_schema().empty_table(), *tables]))


def untrained_scores(
    facts: TrainingFacts,
    student: AuditModel,
    records: Sequence[Record],
    attacks: Sequence[Attack],
    settings: AuditSettings,
) -> dict[str, Array]:
    """Return each attack's scores float64[n] on the student's initial weights."""
    from stillage.models.query import token_stats

    if not attacks or facts.load_untrained is None:
        return {}
    tokenizer = student.load_tokenizer()
    model = facts.load_untrained(tokenizer)
    examples = make_examples(
        records,
        tokenizer,
        settings.data,
        shortest_context(model),
        what=f"the start of {student.name}, audit",
    )
    stats = token_stats(model, examples, batch_tokens=settings.audit.batch_tokens)
    return {
        attack.name: np.array(
            [
                attack.score(
                    *(said if query == ALONE else record.response for query in attack.queries)
                )
                for said, record in zip(stats, records, strict=True)
            ]
        )
        for attack in attacks
    }
