"""Which records stay together in a draw: near-duplicates, or those of one passage."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stillage.corpus.families import connected, families
from stillage.corpus.near_copies import common_limit, near_groups, same_prompt_groups, united
from stillage.errors import DataError
from stillage.rng import generator
from stillage.types import Array, Part, Record

log = logging.getLogger("stillage")
NEAR = "near"
"""The value of `group_by` for near-duplicates and equal prompts; any other is a column."""


def whole_text(record: Record) -> str:
    """Everything a reader of the record sees; what near-duplicates are compared by."""
    before = [content for _, content in record.messages] or [record.prompt, record.input]
    return "\n".join(filter(None, (*before, record.response)))


def prompt_text(record: Record) -> str:
    """All that the record asks, without the answer."""
    return whole_text(replace(record, response=""))


def group_numbers(
    records: Sequence[Record], group_by: str, audited_share: float, checked_share: float
) -> Array:
    """int[n]: equal numbers for records that must come into one part.

    group_by: "": each alone; "near": near-duplicates, and records with one prompt of their own
    whatever they answer (audited_share, checked_share: of the records, whose overlap and whose
    prompts are checked later); else a column kept in `meta`, a record without a value alone.
    """
    count = len(records)
    if not group_by:
        return np.arange(count)
    if group_by == NEAR:
        texts, prompts = map(whole_text, records), map(prompt_text, records)
        near = near_groups(list(texts), round(audited_share * count))
        return united(near, same_prompt_groups(list(prompts), round(checked_share * count)))
    values: dict[str, int] = {}
    numbers, alone = [], 0
    for record in records:
        value = record.meta.get(group_by, "")
        alone += not value
        numbers.append(values.setdefault(value or f"\x00{record.id}", len(values)))
    if alone:
        log.warning("%d of %d records have no %s: each is drawn alone", alone, count, group_by)
    return np.array(numbers, dtype=np.int64)


def allot_groups(
    records: Sequence[Record], numbers: Array, counts: Mapping[Part, int], seed: int
) -> dict[Part, list[Record]]:
    """Give each part whole groups at random, about its number of records.

    Larger groups go first, each to a part drawn in proportion to the room it has left (the
    roomiest, where none has enough); records of their own are then permuted and cut, and even out
    what groups left uneven. records: sorted, so that file order decides nothing.
    """
    members: dict[int, list[Record]] = {}
    for record, number in zip(records, numbers.tolist(), strict=True):
        members.setdefault(number, []).append(record)
    groups = [group for group in members.values() if len(group) > 1]
    single = [group[0] for group in members.values() if len(group) == 1]
    names: list[Part | None] = [*counts, None]  # None: the records that the shares leave over
    room = np.array([*counts.values(), len(records) - sum(counts.values())])
    drawn: list[list[Record]] = [[] for _ in names]
    rng = generator(seed, "split", "groups")
    order = sorted(rng.permutation(len(groups)).tolist(), key=lambda index: -len(groups[index]))
    for index in order:
        size = len(groups[index])
        fits = np.where(room >= size, room, 0)
        chosen = int(rng.choice(len(names), p=fits / fits.sum()) if fits.any() else room.argmax())
        drawn[chosen] += groups[index]
        room[chosen] -= size
    permuted = generator(seed, "split").permutation(len(single))
    start = 0
    for index, count in enumerate(_fill(room, len(single))):
        drawn[index] += [single[place] for place in permuted[start : start + count]]
        start += count
    by_part: dict[Part, list[Record]] = dict(zip(counts, drawn, strict=False))  # but for None
    starved = [name for name, got in by_part.items() if not got]
    if starved:
        largest = max(map(len, members.values()), default=0)
        held = f"{len(records)} records, largest group {largest}"
        fix = 'Give more records; or group less: data.group_by "" draws each record alone.'
        what = "Records that belong together leave a part without any."
        raise DataError(what, f"{held}; none left for: {', '.join(starved)}", fix)
    return by_part


def _fill(room: Array, available: int) -> list[int]:
    """How many single records each part gets; where too few, the roomiest get less."""
    counts = np.maximum(room, 0)
    while counts.sum() > available:
        counts[counts.argmax()] -= 1
    return counts.tolist()


def merge_near_groups(
    records_by_part: Mapping[Part, Sequence[Record]], groups: Mapping[str, int]
) -> dict[str, int]:
    """Merge groups (record id -> number) that the audit will find near each other.

    The checks compare private records with nonmembers, and both with the public ones, by how
    frequent a gram is among them, which only a draw decides.
    """
    names = list(groups)
    place = {name: index for index, name in enumerate(names)}
    numbers = np.array([groups[name] for name in names], dtype=np.int64)
    audited = [*records_by_part.get("private", ()), *records_by_part.get("nonmembers", ())]
    for compared in (audited, [*audited, *records_by_part.get("public", ())]):
        near = families(list(map(whole_text, compared)), common_limit(len(compared))).number_N
        where = np.array([place[record.id] for record in compared], dtype=np.int64)
        _, first, inverse = np.unique(near, return_index=True, return_inverse=True)
        numbers = connected(where, where[first[inverse]], len(names), numbers)
    lowest: dict[int, int] = {}
    return {
        name: lowest.setdefault(number, groups[name])
        for name, number in zip(names, numbers.tolist(), strict=True)
    }


def draw_groups(
    records: Sequence[Record], counts: Mapping[Part, int], seed: int, group_by: str
) -> tuple[dict[Part, list[Record]], dict[str, int]]:
    """Draw the parts by groups; also return each record's group number, by id.

    A draw of near-duplicates is examined as the audit will examine it; what it still finds is
    merged, and the draw made again, until nothing is found. Independent of the order of records,
    whose ids are unique. DataError when a part gets none.
    """
    ordered = sorted(records, key=lambda record: record.id)
    ids, total = [record.id for record in ordered], max(1, len(ordered))
    assert len(set(ids)) == len(ids) and sum(counts.values()) <= len(ids)
    audited = sum(counts.get(part, 0) for part in ("private", "nonmembers")) / total
    checked = audited + counts.get("public", 0) / total
    numbers = group_numbers(ordered, group_by, audited, checked)
    while True:
        drawn = allot_groups(ordered, numbers, counts, seed)
        before = dict(zip(ids, numbers.tolist(), strict=True))
        after = merge_near_groups(drawn, before) if group_by == NEAR else before
        if after == before:
            return drawn, before
        numbers = np.array([after[id_] for id_ in ids])


def cluster_numbers(ids: Sequence[str], groups: Sequence[str]) -> Array:
    """int[n]: equal numbers for records of one group; "" is a group of its own."""
    names = [
        (group and f"group {group}") or f"record {id_}"
        for id_, group in zip(ids, groups, strict=True)
    ]
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
