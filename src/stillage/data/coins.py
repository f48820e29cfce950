"""Members by the toss of a coin: what a one-run audit of differential privacy needs, and a draw of fixed size is not.

Under a draw of fixed size each member makes the others less likely to be one; the theorem (arXiv:2305.08846) asks for
inclusions that do not know of each other.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from stillage.data.split import Split
from stillage.rng import generator
from stillage.types import Record

log = logging.getLogger("stillage")
BERNOULLI = "bernoulli"


def tossed(split: Split, seed: int) -> Split:
    """The split with its private records and outsiders put together and divided anew, by a fair coin per group.

    A record without a group has a coin of its own; near-duplicates share one. Depends on the seed and the ids alone, not on
    the order of records. The other roles stay as they were.
    """
    pair = [*split.records_by_role.get("private", ()), *split.records_by_role.get("outsiders", ())]
    pair.sort(key=lambda record: record.id)
    units = [split.group_of.get(record.id) or f"alone {record.id}" for record in pair]
    names = sorted(set(units))
    heads = dict(
        zip(
            names,
            (generator(seed, "split", "coins").random(len(names)) < 0.5).tolist(),
            strict=True,
        )
    )
    private: list[Record] = []
    outsiders: list[Record] = []
    for record, unit in zip(pair, units, strict=True):
        (private if heads[unit] else outsiders).append(record)
    log.info("coins: %d private records, %d outsiders", len(private), len(outsiders))
    by_role = {**split.records_by_role, "private": private, "outsiders": outsiders}
    return replace(split, records_by_role=by_role, inclusion=BERNOULLI)


def canaries(split: Split) -> list[str]:
    """Ids of the private records and outsiders that had a coin of their own, sorted; none where nothing was tossed."""
    if split.inclusion != BERNOULLI:
        return []
    pair = [
        record.id
        for role in ("private", "outsiders")
        for record in split.records_by_role.get(role, ())
    ]
    return sorted(id_ for id_ in pair if id_ not in split.group_of)
