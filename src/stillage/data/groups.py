"""Which records stay together in a draw: near-duplicates, or those of one passage, so that no role has another's text."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from stillage.errors import DataError
from stillage.functional.families import families, linked
from stillage.functional.overlap import common_limit, near_groups, same_prompt_groups, united
from stillage.rng import generator
from stillage.types import Array, Record, Role

log = logging.getLogger("stillage")
NEAR = "near"
"""The value of `group_by` that asks for near-duplicates and equal prompts; any other is a column."""


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
    """int[n]: equal numbers for records that must come into one role.

    group_by: "" = each alone; "near" = near-duplicates, and records with one prompt of their own whatever they answer
    (audited_share: the share of the records whose overlap is checked later; checked_share: that whose prompts are);
    else a column kept in `meta`: equal values together, a record without a value alone.
    """
    count = len(records)
    if not group_by:
        return np.arange(count)
    if group_by == NEAR:
        near = near_groups([whole_text(record) for record in records], round(audited_share * count))
        asked = same_prompt_groups(
            [prompt_text(record) for record in records], round(checked_share * count)
        )
        return united(near, asked)
    values: dict[str, int] = {}
    numbers, alone = [], 0
    for record in records:
        value = record.meta.get(group_by, "")
        alone += not value
        numbers.append(values.setdefault(value or f"\x00{record.id}", len(values)))
    if alone:
        log.warning(
            "%d of %d records have no %s: each is drawn alone", alone, len(records), group_by
        )
    return np.array(numbers, dtype=np.int64)


def allot_groups(
    records: Sequence[Record], numbers: Array, counts: Mapping[Role, int], seed: int
) -> dict[Role, list[Record]]:
    """Give each role whole groups at random, as near to its number of records as they allow.

    Larger groups go first, in random order among equals, each to a role drawn in proportion to the room it has left
    (the roomiest, where none has enough); records of their own are then permuted and cut, and even out what groups
    left uneven. Where every record is alone, that is a plain random draw. records: sorted, so that file order decides
    nothing.
    """
    members: dict[int, list[Record]] = {}
    for record, number in zip(records, numbers.tolist(), strict=True):
        members.setdefault(number, []).append(record)
    groups = [group for group in members.values() if len(group) > 1]
    single = [group[0] for group in members.values() if len(group) == 1]
    names: list[Role | None] = [*counts, None]  # None: the records that the shares leave over
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
    for index, wanted in enumerate(_fill(room, len(single))):
        drawn[index] += [single[place] for place in permuted[start : start + wanted]]
        start += wanted
    _check_all(names, drawn, max(map(len, members.values()), default=0))
    return {name: found for name, found in zip(names, drawn, strict=True) if name is not None}


def _fill(room: Array, available: int) -> list[int]:
    """How many single records each role gets: its room, less one record at a time from the roomiest where too few."""
    wanted = np.maximum(room, 0)
    while wanted.sum() > available:
        wanted[wanted.argmax()] -= 1
    return wanted.tolist()


def _check_all(
    names: Sequence[Role | None], drawn: Sequence[Sequence[Record]], largest: int
) -> None:
    """Refuse a draw in which a role got nothing, because groups are too large for it. DataError with the numbers."""
    starved = [
        name for name, found in zip(names, drawn, strict=True) if name is not None and not found
    ]
    if starved:
        raise DataError(
            "Records that belong together leave a role without any.",
            f"{sum(map(len, drawn))} records, largest group {largest}; none left for: {', '.join(starved)}",
            'Give more records; or group less: data.group_by "" draws each record alone.',
        )


def joined(
    records_by_role: Mapping[Role, Sequence[Record]], groups: Mapping[str, int]
) -> dict[str, int]:
    """The groups (record id -> number), after merging those that the audit's checks will find near each other.

    The checks compare private records with outsiders, and both with the public ones, by how frequent a gram is among
    them, which only a draw decides.
    """
    names = list(groups)
    place = {name: index for index, name in enumerate(names)}
    numbers = np.array([groups[name] for name in names], dtype=np.int64)
    audited = [*records_by_role.get("private", ()), *records_by_role.get("outsiders", ())]
    for compared in (audited, [*audited, *records_by_role.get("public", ())]):
        found = families(
            [whole_text(record) for record in compared], common_limit(len(compared))
        ).number_N
        where = np.array([place[record.id] for record in compared], dtype=np.int64)
        _, first, inverse = np.unique(found, return_index=True, return_inverse=True)
        numbers = linked(where, where[first[inverse]], len(names), numbers)
    lowest: dict[int, int] = {}
    return {
        name: lowest.setdefault(number, groups[name])
        for name, number in zip(names, numbers.tolist(), strict=True)
    }


def draw_groups(
    records: Sequence[Record], counts: Mapping[Role, int], seed: int, group_by: str
) -> tuple[dict[Role, list[Record]], dict[str, int]]:
    """The roles drawn by groups, and the group number of each record of the pool, by id.

    A draw of near-duplicates is examined as the audit will examine it; what it still finds is merged, and the draw made
    again, until nothing is found. Independent of the order of records. DataError when a role gets none.
    """
    ordered = sorted(records, key=lambda record: record.id)
    audited = sum(counts.get(role, 0) for role in ("private", "outsiders")) / max(1, len(ordered))
    numbers = group_numbers(
        ordered, group_by, audited, audited + counts.get("public", 0) / max(1, len(ordered))
    )
    while True:
        drawn = allot_groups(ordered, numbers, counts, seed)
        before = {
            record.id: number for record, number in zip(ordered, numbers.tolist(), strict=True)
        }
        after = joined(drawn, before) if group_by == NEAR else before
        if after == before:
            return drawn, before
        numbers = np.array([after[record.id] for record in ordered])


def cluster_numbers(ids: Sequence[str], groups: Sequence[str]) -> Array:
    """int[n]: equal numbers for records of one group; a record without a group ("") has a number of its own."""
    names = [
        (group and f"group {group}") or f"record {id_}"
        for id_, group in zip(ids, groups, strict=True)
    ]
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
