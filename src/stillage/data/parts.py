"""Which records train a model: a part, both, or one of n equal parts of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, cast

from stillage.data.draw import AUDITED, check_disjoint
from stillage.data.split import Split
from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import sha256_text
from stillage.types import Part, Record

Pool = Literal["private", "public", "all"]
POOLS: dict[Pool, tuple[Part, ...]] = {
    "private": ("private",),
    "public": ("public",),
    "all": ("private", "public"),
}
PART_OF: dict[str, Part] = {"teacher": "private", "student": "public"}
NO_GROUPS: Mapping[str, str] = MappingProxyType({})
SPELLING = re.compile(r"(?P<pool>[a-z]+)(?:\s+(?P<part>\d+)\s+of\s+(?P<parts>\d+))?")


def draw_part(
    records: Sequence[Record],
    part: int,
    parts: int,
    seed: int,
    group_of: Mapping[str, str] = NO_GROUPS,
) -> list[Record]:
    """Draw the part-th (from 1) of `parts` equal parts, in the order of the draw.

    group_of: record id -> group, for records that stay in one part. Depends on the ids, groups,
    parts and seed alone. The parts are disjoint, together they are everything, and without groups
    their sizes differ by one at most. Raises ConfigError for a part that does not exist, DataError
    for fewer records than parts or an id that comes twice.
    """
    _check_part(part, parts, f"part {part} of {parts}")
    ordered = sorted(records, key=lambda record: record.id)
    twice = next((a.id for a, b in pairwise(ordered) if a.id == b.id), "")
    if twice:
        what, fix = "A record comes twice, so parts would overlap.", "Collapse duplicates first."
        raise DataError(what, f"id: {twice}", fix)
    if len(ordered) < parts:
        values = f"{len(ordered)} records, {parts} parts"
        raise DataError("There are fewer records than parts.", values, "Ask for fewer.")
    units: dict[str, list[Record]] = {}
    for record in ordered:
        units.setdefault(group_of.get(record.id) or f"alone {record.id}", []).append(record)
    together, start, chosen = list(units.values()), 0, []
    low, high = (round(number * len(ordered) / parts) for number in (part - 1, part))
    for index in generator(seed, "parts", parts).permutation(len(together)):
        if low <= start < high:  # a group goes where its first record would
            chosen += together[index]
        start += len(together[index])
    return chosen


def parse_pool(text: str) -> tuple[Pool, int, int]:
    """(pool, part, parts) of `all` or e.g. `public 2 of 4`; ConfigError for others."""
    match = SPELLING.fullmatch(" ".join(text.split()))
    if match is None or match["pool"] not in POOLS:
        fix = f"Write one of {', '.join(POOLS)}, or a part of it such as `private 1 of 2`."
        raise ConfigError("The choice of training records is unknown.", f"given: {text!r}", fix)
    part, parts = (int(match["part"]), int(match["parts"])) if match["part"] else (1, 1)
    _check_part(part, parts, f"given: {text!r}")
    return cast("Pool", match["pool"]), part, parts


def _check_part(part: int, parts: int, given: str) -> None:
    """Refuse a part that does not exist."""
    if not 1 <= part <= parts:
        raise ConfigError("There is no such part.", given, "Parts count from 1 to their number.")


def select_records(
    records_by_part: Mapping[Part, Sequence[Record]],
    text: str,
    seed: int,
    group_of: Mapping[str, str] = NO_GROUPS,
) -> tuple[list[Record], dict[str, str | int]]:
    """The records that `private`, `public`, `all` or `private i of n` mean.

    With all that is needed to choose them again, for JSON. Raises ConfigError as `parse_pool`,
    DataError where there are none.
    """
    pool, part, parts = parse_pool(text)
    missing = [part for part in POOLS[pool] if not records_by_part.get(part)]
    if missing:
        values = f"asked: {text}; no records with part: {', '.join(missing)}"
        fix = "Give these parts a share, or a file."
        raise DataError("The split has no records to choose from.", values, fix)
    everything = [record for part in POOLS[pool] for record in records_by_part[part]]
    chosen = everything if parts == 1 else draw_part(everything, part, parts, seed, group_of)
    if not chosen:
        values = f"asked: {text}; {len(everything)} records"
        what = "A part is empty: near-duplicates stay together."
        raise DataError(what, values, "Ask for fewer parts.")
    return chosen, {
        "choice": pool if parts == 1 else f"{pool} {part} of {parts}",
        "pool": pool,
        "part": part,
        "parts": parts,
        "seed": seed,
        "records": len(chosen),
        "of": len(everything),
        "ids_sha256": sha256_text("\n".join(sorted(record.id for record in chosen))),
    }


def check_choices(train_on: Mapping[str, str], inclusion: str) -> None:
    """Refuse a choice for a model, or of records, that does not exist."""
    unknown = sorted(set(train_on) - set(PART_OF))
    if unknown:
        fix = "Say it of teacher or student, e.g. --data.train-on.teacher 'private 1 of 2'."
        what = "`train_on` names somebody who is not trained."
        raise ConfigError(what, f"unknown: {', '.join(unknown)}", fix)
    pools = {who: parse_pool(text) for who, text in train_on.items()}
    if inclusion != "fixed" and pools.get("teacher", ("private", 1, 1)) != ("private", 1, 1):
        values = f"inclusion: {inclusion}; train_on.teacher: {train_on['teacher']}"
        fix = "Leave out one of data.inclusion and data.train_on.teacher."
        raise ConfigError("Coins have decided who is a member.", values, fix)


def assign_training(split: Split, train_on: Mapping[str, str], *, audits: bool) -> Split:
    """Make private what the teacher trains on, and public what students do.

    train_on: {"teacher": choice, "student": choice}, either may be absent (see `parse_pool`). So
    members are always the records that the teacher has seen; those that nobody trains on leave the
    split. audits: a record in both parts is refused, as what the student learnt by itself would
    pass for inherited; otherwise it is counted in `overlaps`. Raises what `select_records` does.
    """
    check_choices(train_on, split.inclusion)
    before = split.records_by_part
    chosen = {
        who: select_records(before, text, split.seed, split.group_of)
        for who, text in train_on.items()
    }
    taken: dict[Part, list[Record]] = {
        PART_OF[who]: records for who, (records, _) in chosen.items()
    }
    after: dict[Part, list[Record]] = {**before, **taken}
    ids_before, ids_after = (
        {record.id for part in PART_OF.values() for record in by_part.get(part, ())}
        for by_part in (before, after)
    )
    unused = ids_before - ids_after
    notes = {"records that nobody trains on, left out": len(unused)} if unused else {}
    return replace(
        split,
        records_by_part=after,
        overlaps=check_disjoint(after, AUDITED if audits else AUDITED[1:]),
        notes={**split.notes, **notes},
        group_of={name: group for name, group in split.group_of.items() if name not in unused},
        train_on={who: about for who, (_, about) in chosen.items()},
    )
