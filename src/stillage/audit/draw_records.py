"""Recorded draws of records: single ones, or whole groups of near-duplicates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from stillage.data.grouping import cluster_numbers
from stillage.errors import ConfigError
from stillage.rng import generator
from stillage.types import Record


def some_records(records: Sequence[Record], most: int, seed: int, *names: str) -> list[Record]:
    """Draw at most `most` records, in their order; 0: all. seed, names: of the draw."""
    if not most or len(records) <= most:
        return list(records)
    drawn = generator(seed, *names).permutation(len(records))[:most]
    return [records[index] for index in sorted(drawn)]


def some_groups(
    records: Sequence[Record],
    parts: Sequence[str],
    groups: Sequence[str],
    most: int,
    seed: int,
    *names: str,
) -> tuple[list[Record], tuple[str, ...]]:
    """Draw whole groups, `most` records of each part (0: all); and their parts.

    parts, groups: of each record; group "": it is alone. Groups come in random order, and one that
    some part has no room left for is passed over, so that those of one size are drawn alike,
    whatever their part: what the shuffles of audit.best_attack rest on. ConfigError where no group
    of a part fits.
    """
    if not most or max(Counter(parts).values(), default=0) <= most:
        return list(records), tuple(parts)
    number = cluster_numbers([record.id for record in records], groups)
    places = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
    room = dict.fromkeys(parts, most)
    kept: list[int] = []
    for index in generator(seed, *names).permutation(len(places)).tolist():
        needed = Counter(parts[int(place)] for place in places[index])
        if all(count <= room[part] for part, count in needed.items()):
            kept += places[index].tolist()
            room = {part: left - needed[part] for part, left in room.items()}
    empty = [part for part, left in room.items() if left == most]
    if empty:
        smallest = min(
            len(group) for group in places if any(parts[place] in empty for place in group.tolist())
        )
        raise ConfigError(
            "So few records cannot be drawn: near-duplicates are drawn together.",
            f"at most {most} of each part; the smallest group of {', '.join(empty)} has {smallest}",
            "Ask for more records (0: all).",
        )
    return [records[index] for index in sorted(kept)], tuple(parts[index] for index in sorted(kept))
