"""Members by the toss of a coin, for a one-run audit of differential privacy.

Under a draw of fixed size each member makes the others less likely to be one; the theorem
(arXiv:2305.08846) asks for inclusions that do not know of each other.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from stillage.data.split import Split
from stillage.rng import generator
from stillage.types import Record

log = logging.getLogger("stillage")
BERNOULLI = "bernoulli"


def toss_coins(split: Split, seed: int) -> Split:
    """Divide private records and nonmembers anew, by a fair coin per group.

    Depends on the seed and the ids alone. Near-duplicates share a coin.
    """
    pair = sorted(_compared(split), key=lambda record: record.id)
    units = [split.group_of.get(record.id) or f"alone {record.id}" for record in pair]
    names = sorted(set(units))
    tosses = generator(seed, "split", "coins").random(len(names)) < 0.5
    heads = dict(zip(names, tosses.tolist(), strict=True))
    private = [record for record, unit in zip(pair, units, strict=True) if heads[unit]]
    nonmembers = [record for record, unit in zip(pair, units, strict=True) if not heads[unit]]
    log.info("coins: %d private records, %d nonmembers", len(private), len(nonmembers))
    by_part = {**split.records_by_part, "private": private, "nonmembers": nonmembers}
    return replace(split, records_by_part=by_part, inclusion=BERNOULLI)


def canaries(split: Split) -> list[str]:
    """Ids of the records with a coin of their own, sorted; none without a toss."""
    if split.inclusion != BERNOULLI:
        return []
    return sorted(record.id for record in _compared(split) if record.id not in split.group_of)


def _compared(split: Split) -> list[Record]:
    """The private records and the nonmembers."""
    by_part = split.records_by_part
    return [*by_part.get("private", ()), *by_part.get("nonmembers", ())]
