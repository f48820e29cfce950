"""Prompts alone: public records whose answers the teacher writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stillage.data.columns import record_id
from stillage.data.draw import collapse
from stillage.data.split import Split
from stillage.rng import generator
from stillage.types import Record


def with_answers(records: Sequence[Record]) -> list[Record]:
    """The records that have an answer of their own, in their order."""
    return [record for record in records if record.response]


def prompt_alone(record: Record) -> Record:
    """Make a record of the prompt alone, with an id of its own and no columns."""
    bare = record_id(record.prompt, record.input, "", record.messages)
    return replace(record, id=bare, response="", meta={})


def keep_answers(split: Split, share: float) -> Split:
    """Let this share of the public records keep their answers, as ids and seed decide.

    Above 0 at least one keeps its answer; records that are text alone keep it always. A prompt that
    would then stand there several times alone, stands there once.
    """
    public = split.records_by_part.get("public", ())
    having = sorted(record.id for record in public if record.response and record.prompt)
    count = max(1, round(share * len(having))) if share else 0
    order = generator(split.seed, "public answers").permutation(len(having))
    taken = {having[place] for place in order[count:]}
    changed = {record.id: prompt_alone(record) for record in public if record.id in taken}
    group_of = {
        changed[id_].id if id_ in changed else id_: group for id_, group in split.group_of.items()
    }
    records, again = collapse([changed.get(record.id, record) for record in public])
    return replace(
        split,
        records_by_part={**split.records_by_part, "public": records},
        group_of=group_of,
        duplicates_collapsed=split.duplicates_collapsed + again,
    )
