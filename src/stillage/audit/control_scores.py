"""The scored controls: blind attackers, untrained and other-trained models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.attack_settings import attacks_of
from stillage.audit.control_models import CONTROLS, UNTRAINED
from stillage.audit.controls import Control, Family
from stillage.audit.given import AuditModel, AuditSettings, TrainingFacts
from stillage.audit.membership import score_rows
from stillage.audit.scores import BLIND, Scores
from stillage.data.tokenise import make_examples
from stillage.models.limits import shortest_context
from stillage.types import Query

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.audit.audit_records import AuditRecords

AS_IS = Query(party="target")
TEXT = Query(party="record", transform="text")


def controls_of(scores: pa.Table) -> dict[str, Control]:
    """Collect the controls among some scores.

    One without a finite score of either kind is none (check_answers counts it).
    """
    family_of: dict[str, Family] = dict.fromkeys(CONTROLS, "trained")
    family_of |= {BLIND: "blind", UNTRAINED: "untrained"}
    controls: dict[str, Control] = {}
    read = Scores(scores)
    for model, attack in read.pairs:
        scored = read.of(model, attack)
        if scored.has_both and model in family_of:
            name = f"blind {attack}" if model == BLIND else f"{attack} on {model}"
            controls[name] = Control(family=family_of[model], scored=scored)
    return controls


def untrained_controls(
    facts: TrainingFacts, student: AuditModel | None, records: AuditRecords, settings: AuditSettings
) -> dict[str, Control]:
    """Run the attacks that need one forward pass on the student before its training."""
    import pyarrow as pa

    from stillage.models.query import token_stats

    attacks = [
        attack
        for attack in attacks_of(settings.audit)
        if AS_IS in attack.queries and set(attack.queries) <= {AS_IS, TEXT}
    ]
    if facts.load_untrained is None or student is None or not attacks:
        return {}
    tokenizer = student.load_tokenizer()
    model = facts.load_untrained(tokenizer)
    examples = make_examples(
        records.records,
        tokenizer,
        settings.data,
        shortest_context(model),
        what=f"the start of {student.name}, audit",
    )
    stats = token_stats(model, examples, batch_tokens=settings.audit.batch_tokens)
    tables = []
    for attack in attacks:
        scores = [
            attack.score(*(said if query == AS_IS else record.response for query in attack.queries))
            for said, record in zip(stats, records.records, strict=True)
        ]
        tables.append(score_rows(records.audited, UNTRAINED, attack.name, np.array(scores)))
    return controls_of(pa.concat_tables(tables))
