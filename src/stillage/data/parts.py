"""Which records train a model: a role, both training roles, or the i-th of n equal parts of one, by a recorded draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from types import MappingProxyType
from typing import Literal, cast

from stillage.data.split import AUDITED, Split, check_disjoint
from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import sha256_text
from stillage.types import Record, Role

Pool = Literal["private", "public", "all"]
POOLS: dict[Pool, tuple[Role, ...]] = {
    "private": ("private",),
    "public": ("public",),
    "all": ("private", "public"),
}
ROLE_OF: dict[str, Role] = {"teacher": "private", "student": "public"}
NO_GROUPS: Mapping[str, str] = MappingProxyType({})
SPELLING = re.compile(r"(?P<pool>[a-z]+)(?:\s+(?P<part>\d+)\s+of\s+(?P<parts>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The records chosen, and all that is needed to choose them again (about: JSON-able)."""

    records: list[Record]
    about: Mapping[str, str | int]


def part_of(
    records: Sequence[Record],
    part: int,
    parts: int,
    seed: int,
    group_of: Mapping[str, str] = NO_GROUPS,
) -> list[Record]:
    """The part-th (from 1) of `parts` equal parts, drawn at random by id, in the order of the draw.

    group_of: record id -> group, for records that stay in one part. Depends on the ids, groups, parts and seed alone, never
    on file order. The parts are disjoint, together they are everything, and without groups their sizes differ by one at
    most. Raises ConfigError for a part that does not exist, DataError for fewer
    records than parts or an id that comes twice.
    """
    if not 1 <= part <= parts:
        raise ConfigError(
            "There is no such part.",
            f"part {part} of {parts}",
            "Parts count from 1 to their number.",
        )
    ordered = sorted(records, key=lambda record: record.id)
    twice = next((a.id for a, b in pairwise(ordered) if a.id == b.id), "")
    if twice:
        raise DataError(
            "A record comes twice, so parts would overlap.",
            f"id: {twice}",
            "Collapse duplicates first.",
        )
    if len(ordered) < parts:
        raise DataError(
            "There are fewer records than parts.",
            f"{len(ordered)} records, {parts} parts",
            "Ask for fewer.",
        )
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
    """(pool, part, parts) of `private`, `public`, `all` or e.g. `private 2 of 4`. Raises ConfigError for anything else."""
    match = SPELLING.fullmatch(" ".join(text.split()))
    if match is None or match["pool"] not in POOLS:
        fix = f"Write one of {', '.join(POOLS)}, or a part of it such as `private 1 of 2`."
        raise ConfigError("The choice of training records is unknown.", f"given: {text!r}", fix)
    part, parts = (int(match["part"]), int(match["parts"])) if match["part"] else (1, 1)
    if not 1 <= part <= parts:
        raise ConfigError(
            "There is no such part.", f"given: {text!r}", "Parts count from 1 to their number."
        )
    return cast("Pool", match["pool"]), part, parts


def select(
    records_by_role: Mapping[Role, Sequence[Record]],
    text: str,
    seed: int,
    group_of: Mapping[str, str] = NO_GROUPS,
) -> Selection:
    """The records that `private`, `public`, `all` or `private i of n` mean. Raises ConfigError, DataError as above."""
    pool, part, parts = parse_pool(text)
    missing = [role for role in POOLS[pool] if not records_by_role.get(role)]
    if missing:
        values = f"asked: {text}; no records with role: {', '.join(missing)}"
        raise DataError(
            "The split has no records to choose from.",
            values,
            "Give these roles a share, or a file.",
        )
    everything = [record for role in POOLS[pool] for record in records_by_role[role]]
    chosen = everything if parts == 1 else part_of(everything, part, parts, seed, group_of)
    if not chosen:
        values = f"asked: {text}; {len(everything)} records"
        raise DataError(
            "A part is empty: near-duplicates stay together.", values, "Ask for fewer parts."
        )
    about: dict[str, str | int] = {
        "choice": pool if parts == 1 else f"{pool} {part} of {parts}",
        "pool": pool,
        "part": part,
        "parts": parts,
        "seed": seed,
        "records": len(chosen),
        "of": len(everything),
        "ids_sha256": sha256_text("\n".join(sorted(record.id for record in chosen))),
    }
    return Selection(records=chosen, about=about)


def check_choices(train_on: Mapping[str, str], inclusion: str) -> None:
    """ConfigError for another name than teacher or student, for a choice that does not exist, and against the coins."""
    unknown = sorted(set(train_on) - set(ROLE_OF))
    if unknown:
        fix = "Say it of teacher or student, e.g. --data.train-on.teacher 'private 1 of 2'."
        raise ConfigError(
            "`train_on` names somebody who is not trained.", f"unknown: {', '.join(unknown)}", fix
        )
    pools = {who: parse_pool(text) for who, text in train_on.items()}
    if inclusion != "fixed" and pools.get("teacher", ("private", 1, 1)) != ("private", 1, 1):
        values = f"inclusion: {inclusion}; train_on.teacher: {train_on['teacher']}"
        fix = "Leave out one of data.inclusion and data.train_on.teacher."
        raise ConfigError("Coins have decided who is a member.", values, fix)


def assigned(split: Split, train_on: Mapping[str, str], *, audits: bool) -> Split:
    """The split with other training records: the role private becomes what the teacher trains on, public what students do.

    train_on: {"teacher": choice, "student": choice}, either may be absent (see `parse_pool`). So members are always the
    records that the teacher has seen; those that nobody trains on leave the split, counted in its notes. audits: a record
    in both roles is refused, as what the student learnt by itself would pass for inherited; otherwise it is counted in
    `overlaps`. Raises ConfigError as `check_choices`, DataError as `select` and `check_disjoint`.
    """
    check_choices(train_on, split.inclusion)
    before = split.records_by_role
    found = {
        who: select(before, text, split.seed, split.group_of) for who, text in train_on.items()
    }
    roles: dict[Role, list[Record]] = dict(before)
    roles.update({ROLE_OF[who]: selection.records for who, selection in found.items()})
    pools = [
        {record.id for role in POOLS["all"] for record in some.get(role, ())}
        for some in (before, roles)
    ]
    unused = pools[0] - pools[1]
    return replace(
        split,
        records_by_role=roles,
        overlaps=check_disjoint(roles, AUDITED if audits else AUDITED[1:]),
        notes={**split.notes}
        | ({"records that nobody trains on, left out": len(unused)} if unused else {}),
        group_of={name: group for name, group in split.group_of.items() if name not in unused},
        train_on={who: selection.about for who, selection in found.items()},
    )
