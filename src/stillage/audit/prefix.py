"""Known texts in front of a record: which are given away, and how many fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from stillage.rng import generator
from stillage.types import Array, Example, Record

LOG = logging.getLogger("stillage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prefixes:
    """Records that an attacker knows, and the audited ones that are left to evaluate."""

    nonmembers: tuple[Record, ...]
    members: tuple[Record, ...]
    kept: tuple[int, ...]
    """Positions in the audited records; neither a prefix record nor a near-duplicate of one."""


def draw_prefixes(
    records: Sequence[Record],
    parts: Sequence[str],
    groups: Sequence[str],
    *,
    nonmembers: int,
    members: int,
    seed: int,
) -> Prefixes:
    """Draw nonmembers and members for prefixes; evaluate neither them nor near-copies.

    nonmembers, members: how many. groups: name of each record's near-duplicates, "" where it is
    alone. At most a quarter of a part is given away (said in the log).
    """
    drawn: dict[str, list[int]] = {}
    for part, wanted in (("nonmembers", nonmembers), ("private", members)):
        places = [index for index, own in enumerate(parts) if own == part]
        count = min(wanted, len(places) // 4)
        if count < wanted:
            LOG.warning(
                "prefixes of %d %s records instead of %d: there are only %d",
                count,
                part,
                wanted,
                len(places),
            )
        order = generator(seed, "prefix", part).permutation(len(places))
        drawn[part] = sorted(places[index] for index in order[:count])
    given = {index for places in drawn.values() for index in places}
    near = {groups[index] for index in given} - {""}
    kept = tuple(
        index for index, group in enumerate(groups) if index not in given and group not in near
    )
    if given:
        LOG.info(
            "%d records serve as prefixes; with their near-duplicates %d are not evaluated",
            len(given),
            len(records) - len(kept),
        )
    return Prefixes(
        nonmembers=tuple(records[index] for index in drawn["nonmembers"]),
        members=tuple(records[index] for index in drawn["private"]),
        kept=kept,
    )


def with_prefix(
    example: Example, prefix: Sequence[Example], context: int | None, start: Sequence[int]
) -> tuple[Example | None, int]:
    """Put as many prefix texts before the example as the context holds.

    Returns the example, of which the same tokens are scored, and the number of texts. The shortest
    texts are taken first and stand nearest; no text is cut, and where none fits there is no
    example. start: the ids that begin a text (BOS), kept at the very front only. context: in
    tokens; None: no limit.
    """
    texts = sorted((without_start(text.ids_T, start) for text in prefix), key=len)
    own = without_start(example.ids_T, start)
    begins = np.asarray(start, np.int32)
    room = None if context is None else context - len(begins) - len(own)
    fitting = fit(texts, room)
    if not fitting:
        return None, 0
    before = np.concatenate([begins, *reversed(fitting)])
    scored = example.response_T[len(example.ids_T) - len(own) :]
    ids_T = np.concatenate([before, own]).astype(np.int32)
    response_T = np.concatenate([np.zeros(len(before), bool), scored])
    return replace(example, ids_T=ids_T, response_T=response_T, extras={}), len(fitting)


def would_fit(examples: Sequence[Example], prefix: Sequence[Example], context: int | None) -> str:
    """Say, in tokens, why no known text fits before a record, and what would fit."""
    shortest, record = (
        min((len(text.ids_T) for text in texts), default=0) for texts in (prefix, examples)
    )
    return (
        f"the shortest of them has {shortest} tokens, the shortest record {record}, and the "
        f"model's context is {context}; with data.max_tokens {(context or 0) // 2} or less one "
        "fits before every record"
    )


def fit(texts: Sequence[Array], room: int | None) -> list[Array]:
    """Return the texts from the first on that fit the room together."""
    if room is None:
        return list(texts)
    total = np.cumsum([len(text) for text in texts])
    return list(texts[: int(np.searchsorted(total, room, side="right"))])


def without_start(ids_T: Array, start: Sequence[int]) -> Array:
    """Return the ids of a text without those that begin it."""
    count = len(start)
    return ids_T[count:] if count and ids_T[:count].tolist() == list(start) else ids_T
