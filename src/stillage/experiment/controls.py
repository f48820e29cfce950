"""What must be at chance in every run: blind attackers, models that never met a member, the student before its training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from stillage.audit.controls import Control
from stillage.experiment.attack_settings import attacks_of
from stillage.experiment.inputs import (
    audited_of,
    device_name,
    examples_of,
    parts_of,
    shortest_context,
    tokenizer_of,
)
from stillage.experiment.specs import OUTSIDE, REFERENCE, ModelSpec
from stillage.rng import derive
from stillage.types import Array, Attack, Query, Record

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.data.split import Split
    from stillage.experiment.plan import Context

CONTROLS = (REFERENCE, OUTSIDE, "student_counterfactual", "teacher_counterfactual")
"""Models that never met a private record, nor a teacher that did."""
UNTRAINED = "student_untrained"
"""The weights that the student's training started from."""
ALONE = Query(party="target")
TEXT = Query(party="record", transform="text")


def controls_of(scores: pa.Table) -> dict[str, Control]:
    """Everything scored that cannot know the members: blind attackers, and models that never met them.

    A control without a single finite score of either kind is none (check_answers counts it).
    """
    from stillage.audit.membership import BLIND, by_model_and_attack, is_cross_fitted

    found: dict[str, Control] = {}
    for (model, attack), scored in by_model_and_attack(scores).items():
        both = scored.is_member.any() and not scored.is_member.all()
        if both and model in (BLIND, UNTRAINED, *CONTROLS):
            name = f"blind {attack}" if model == BLIND else f"{attack} on {model}"
            family = "blind" if model == BLIND else "untrained" if model == UNTRAINED else "trained"
            found[name] = Control(
                family=family, scored=scored, cross_fitted=is_cross_fitted(model, attack)
            )
    return found


def untrained_controls(
    context: Context, split: Split, records: Sequence[Record], unchecked: dict[str, str]
) -> dict[str, Control]:
    """The configured one-pass attacks on the student as it was before its training: one forward pass."""
    import pyarrow as pa

    from stillage.audit.membership import score_rows, score_schema

    spec = next((spec for spec in context.specs if spec.name == "student"), None)
    if spec is None or not spec.is_trained or spec.pruned_from:
        why = (
            "it is cut from its teacher"
            if spec is not None and spec.pruned_from
            else "no student was trained here"
        )
        unchecked["untrained student"] = why
        return {}
    audited = audited_of(split, records, parts_of(split, records))
    chosen = [
        attack
        for attack in attacks_of(context.config.audit)
        if ALONE in attack.queries and set(attack.queries) <= {ALONE, TEXT}
    ]
    scores = untrained_scores(context, spec, records, chosen)
    tables = [score_rows(audited, UNTRAINED, name, values) for name, values in scores.items()]
    return controls_of(pa.concat_tables([score_schema().empty_table(), *tables]))


def untrained_scores(
    context: Context, spec: ModelSpec, records: Sequence[Record], attacks: Sequence[Attack]
) -> dict[str, Array]:
    """Each attack's scores float64[n] on the weights that a model's training started from."""
    from stillage.models.load import load_model
    from stillage.models.query import token_stats

    if not attacks:
        return {}
    config, tokenizer = context.config, tokenizer_of(context, spec)
    seed = derive(config.seed, "weights", "student")
    model = load_model(spec.start, vocab_size=len(tokenizer), seed=seed, device=device_name())
    examples = examples_of(
        records,
        tokenizer,
        config.data,
        shortest_context(model),
        what=f"the start of {spec.name}, audit",
    )
    stats = token_stats(model, examples, batch_tokens=config.audit.batch_tokens)
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
