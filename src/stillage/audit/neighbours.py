"""Neighbours of a record: its response with a few words swapped by a masked model."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.rng import generator
from stillage.run.folder import read_table, sha256_text, write_table
from stillage.types import Record

if TYPE_CHECKING:
    from stillage.models.masked import Masked
    from stillage.run.audit_config import AuditConfig
    from stillage.run.progress import Done

LOG = logging.getLogger("stillage")
SCHEMA = "neighbours 1"  # raise it when neighbours are made differently


@dataclass(frozen=True, slots=True, kw_only=True)
class Swaps:
    """The number of neighbours per record, and the share of tokens swapped in each."""

    count: int = 25
    share: float = 0.05
    top_k: int = 10  # a swapped token is drawn among so many proposals
    seed: int = 0


def swaps_of(audit: AuditConfig, seed: int) -> Swaps:
    """Return the swaps that an audit's settings ask for."""
    return Swaps(
        count=audit.neighbours,
        share=audit.neighbour_share,
        top_k=audit.neighbour_top_k,
        seed=seed,
    )


def neighbours(
    masked: Masked,
    records: Sequence[Record],
    swaps: Swaps,
    *,
    cache: Path | None = None,
    batch_tokens: int = 16384,
    progress: Done | None = None,
) -> list[tuple[str, ...]]:
    """Make texts that differ from each record's response in a share of its n tokens.

    In max(1, round(share n)). Places are drawn at random and masked together; each gets one of the
    masked model's top_k proposals, drawn at random. Draws derive from (seed, record id, number), so
    a record's neighbours do not depend on the others. No neighbours where nothing can be replaced.
    cache: folder where they are kept.
    """
    numbers = (swaps.count, swaps.share, swaps.top_k, swaps.seed)
    settings = [SCHEMA, masked.key, *map(str, numbers)]
    file = None
    if cache is not None:
        name = sha256_text("\x1f".join([*settings, *(f"{r.id}\x1e{r.response}" for r in records)]))
        file = cache / f"neighbours-{name[:32]}.parquet"
        if (known := read_texts(file, len(records))) is not None:
            return known
    near = swapped_texts(masked, records, swaps, batch_tokens, progress)
    if without := sum(not texts for texts in near):
        LOG.warning(
            "%d of %d records have no neighbours: nothing in them can be replaced",
            without,
            len(near),
        )
    if file is not None:
        import pyarrow as pa

        write_table(file, pa.table({"texts": pa.array(near, pa.list_(pa.string()))}))
    return near


def read_texts(file: Path, count: int) -> list[tuple[str, ...]] | None:
    """Read kept neighbours; None without any, or if damaged (said in the log)."""
    from pyarrow import ArrowException

    if not file.exists():
        return None
    try:
        kept = [tuple(texts) for texts in read_table(file).column("texts").to_pylist()]
    except (OSError, ArrowException, KeyError, TypeError) as error:
        LOG.warning(
            "cached neighbours %s are damaged (%s): made again", file.name, type(error).__name__
        )
        return None
    return kept if len(kept) == count else None


def swapped_texts(
    masked: Masked,
    records: Sequence[Record],
    swaps: Swaps,
    batch_tokens: int,
    progress: Done | None,
) -> list[tuple[str, ...]]:
    """Draw the places of every neighbour, and fill them by the masked model."""
    from stillage.models.masked import Substitutes, encode, propose, replaced

    encoded = encode(masked, [record.response for record in records])
    texts, places, draws, owner = [], [], [], []
    for number, (record, text) in enumerate(zip(records, encoded, strict=True)):
        open_places = np.flatnonzero(text.may_T)
        if not len(open_places):
            continue
        chosen = max(1, round(swaps.share * len(open_places)))
        for copy in range(swaps.count):
            rng = generator(swaps.seed, "neighbours", record.id, copy)
            texts.append(text)
            places.append(sorted(rng.choice(open_places, chosen, replace=False).tolist()))
            draws.append(rng)
            owner.append(number)
    proposals = propose(
        masked,
        texts,
        places,
        Substitutes(swaps.top_k, together=True),
        batch_tokens=batch_tokens,
        progress=progress,
    )
    near: list[list[str]] = [[] for _ in records]
    copies = zip(owner, texts, places, proposals, draws, strict=True)
    for number, text, where, fitting, rng in copies:
        pairs = zip(where, fitting, strict=True)
        if swapped := {place: int(rng.choice(ids)) for place, ids in pairs if len(ids)}:
            near[number].append(replaced(masked, text, swapped))
    return [tuple(of_record) for of_record in near]
