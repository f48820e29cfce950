"""Prompts alone: public records without an answer, for a student whose teacher writes the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stillage.data.columns import record_id
from stillage.data.split import Split
from stillage.errors import ConfigError
from stillage.rng import generator
from stillage.types import Record


def answered(records: Sequence[Record]) -> list[Record]:
    """The records that have an answer of their own, in their order."""
    return [record for record in records if record.response]


def prompt_alone(record: Record) -> Record:
    """The record without its answer and without the columns that belong to it; another record, with an id of its own."""
    bare = record_id(record.prompt, record.input, "", record.messages)
    return replace(record, id=bare, response="", meta={})


def with_answers(split: Split, count: int) -> Split:
    """The split in which so many public records keep their answers, by a draw that ids and seed decide.

    Records that are text alone keep theirs: without it nothing would be left. ConfigError where fewer have one.
    """
    public = sorted(split.records_by_role.get("public", ()), key=lambda record: record.id)
    having = [index for index, record in enumerate(public) if record.response and record.prompt]
    if count > len(having):
        raise ConfigError(
            "Fewer public records have an answer than are to keep one.",
            f"data.public_answers: {count}; public records with prompt and answer: {len(having)} of {len(public)}",
            "Lower data.public_answers, or leave it out.",
        )
    order = generator(split.seed, "public answers").permutation(len(having))
    taken = {having[place] for place in order[count:]}
    changed = {public[index].id: prompt_alone(public[index]) for index in taken}
    records = [changed.get(record.id, record) for record in split.records_by_role.get("public", ())]
    group_of = {changed[id_].id if id_ in changed else id_: group for id_, group in split.group_of.items()}
    return replace(split, records_by_role={**split.records_by_role, "public": records}, group_of=group_of)
