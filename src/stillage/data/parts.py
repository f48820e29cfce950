"""Which records train a model: a role, both training roles, or the i-th of n equal parts of one, by a recorded draw."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, cast

from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import sha256_text
from stillage.types import Record, Role

Pool = Literal["private", "public", "all"]
POOLS: dict[Pool, tuple[Role, ...]] = {"private": ("private",), "public": ("public",), "all": ("private", "public")}
SPELLING = re.compile(r"(?P<pool>[a-z]+)(?:\s+(?P<part>\d+)\s+of\s+(?P<parts>\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """The records chosen, and all that is needed to choose them again (about: JSON-able)."""

    records: list[Record]
    about: Mapping[str, str | int]


def part_of(records: Sequence[Record], part: int, parts: int, seed: int) -> list[Record]:
    """The part-th (from 1) of `parts` equal parts, drawn at random by id, in the order of the draw.

    Depends on the ids, parts and seed alone, never on file order. The parts are disjoint, together they are everything,
    and their sizes differ by one at most. Raises ConfigError for a part that does not exist, DataError for fewer
    records than parts or an id that comes twice.
    """
    if not 1 <= part <= parts:
        raise ConfigError("There is no such part.", f"part {part} of {parts}", "Parts count from 1 to their number.")
    ordered = sorted(records, key=lambda record: record.id)
    twice = next((a.id for a, b in pairwise(ordered) if a.id == b.id), "")
    if twice:
        raise DataError("A record comes twice, so parts would overlap.", f"id: {twice}", "Collapse duplicates first.")
    if len(ordered) < parts:
        raise DataError(
            "There are fewer records than parts.", f"{len(ordered)} records, {parts} parts", "Ask for fewer."
        )
    order = generator(seed, "parts", parts).permutation(len(ordered))
    upto = [round(number * len(ordered) / parts) for number in (part - 1, part)]
    return [ordered[index] for index in order[upto[0] : upto[1]]]


def parse_pool(text: str) -> tuple[Pool, int, int]:
    """(pool, part, parts) of `private`, `public`, `all` or e.g. `private 2 of 4`. Raises ConfigError for anything else."""
    match = SPELLING.fullmatch(" ".join(text.split()))
    if match is None or match["pool"] not in POOLS:
        fix = f"Write one of {', '.join(POOLS)}, or a part of it such as `private 1 of 2`."
        raise ConfigError("The choice of training records is unknown.", f"given: {text!r}", fix)
    part, parts = (int(match["part"]), int(match["parts"])) if match["part"] else (1, 1)
    if not 1 <= part <= parts:
        raise ConfigError("There is no such part.", f"given: {text!r}", "Parts count from 1 to their number.")
    return cast("Pool", match["pool"]), part, parts


def select(records_by_role: Mapping[Role, Sequence[Record]], text: str, seed: int) -> Selection:
    """The records that `private`, `public`, `all` or `private i of n` mean. Raises ConfigError, DataError as above."""
    pool, part, parts = parse_pool(text)
    missing = [role for role in POOLS[pool] if not records_by_role.get(role)]
    if missing:
        values = f"asked: {text}; no records with role: {', '.join(missing)}"
        raise DataError("The split has no records to choose from.", values, "Give these roles a share, or a file.")
    everything = [record for role in POOLS[pool] for record in records_by_role[role]]
    chosen = everything if parts == 1 else part_of(everything, part, parts, seed)
    about: dict[str, str | int] = {
        "pool": pool,
        "part": part,
        "parts": parts,
        "seed": seed,
        "records": len(chosen),
        "of": len(everything),
        "ids_sha256": sha256_text("\n".join(sorted(record.id for record in chosen))),
    }
    return Selection(records=chosen, about=about)
