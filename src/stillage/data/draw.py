"""Who gets which record: a recorded random draw, or a file per part."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from stillage.corpus.rows import BadLine
from stillage.data.grouping import draw_groups, group_numbers
from stillage.data.records import Loaded
from stillage.data.split import UNDRAWN, Split
from stillage.errors import ConfigError, DataError
from stillage.run.ranges import check_shares
from stillage.types import PARTS, Part, Record

log = logging.getLogger("stillage")
AUDITED: tuple[Part, ...] = ("private", "public", "nonmembers", "counterfactual")
"""Parts without a common record: one trained on, or a member on both sides, fakes the audit."""
SHOWN_IDS = 5


def collapse(records: Iterable[Record]) -> tuple[list[Record], int]:
    """The first record of each id, in order, and how many repetitions were left out."""
    every, unique = list(records), dict[str, Record]()
    for record in every:
        unique.setdefault(record.id, record)
    return list(unique.values()), len(every) - len(unique)


def share_counts(total: int, shares: Mapping[str, float]) -> dict[Part, int]:
    """How many of `total` records each part gets: the cumulative shares, rounded.

    Raises ConfigError as ranges.check_shares; DataError when a part gets none.
    """
    check_shares(shares)
    parts: list[Part] = [part for part in PARTS if shares.get(part, 0) > 0]
    counts: dict[Part, int] = {}
    cumulative, used = 0.0, 0
    for part in parts:
        cumulative += shares[part]
        upto = min(math.floor(cumulative * total + 0.5), total)
        counts[part], used = upto - used, upto
    starved = [part for part in parts if counts[part] == 0]
    if starved:
        values = f"{total} different records; none left for: {', '.join(starved)}"
        fix = "Give more records, larger shares for these parts, "
        fix += "or a share of 0 to parts that you do not need."
        raise DataError("There are fewer records than the parts need.", values, fix)
    return counts


def draw_split(loaded: Loaded, shares: Mapping[str, float], seed: int, group_by: str = "") -> Split:
    """Draw the parts from one pool, at random; exact duplicates are collapsed first.

    group_by: what stays together (`grouping.group_numbers`). DataError for a part without a record.
    """
    unique, repeated = collapse(loaded.records)
    counts = share_counts(len(unique), shares)
    undrawn = len(unique) - sum(counts.values())
    notes = {UNDRAWN: undrawn} if undrawn else {}
    by_part, numbers = draw_groups(unique, counts, seed, group_by)
    split = Split(
        records_by_part=by_part,
        drawn_by_us=True,
        seed=seed,
        shares=dict(shares),
        duplicates_collapsed=repeated,
        n_read=len(loaded.records),
        bad_lines=loaded.bad_lines,
        notes={**loaded.notes, **notes},
        sources=loaded.sources,
    )
    return record_groups(split, numbers, group_by) if group_by else split


def record_groups(split: Split, numbers: Mapping[str, int], group_by: str) -> Split:
    """Write groups into a split. numbers: record id -> group number."""
    sizes = Counter(numbers.values())
    return replace(
        split,
        group_by=group_by,
        groups=len(sizes),
        largest_group=max(sizes.values(), default=0),
        group_of={id_: str(number) for id_, number in numbers.items() if sizes[number] > 1},
    )


def split_from_files(
    files: Mapping[str, str | Path],
    readers: Mapping[str, Callable[[str | Path], Loaded]],
    *,
    seed: int = 0,
    group_by: str = "",
) -> Split:
    """Make the split that the user made: an input for each part.

    readers: part -> what makes records of its input. group_by: which private records and nonmembers
    are no independent draws (`grouping.group_numbers`), for the intervals. Raises ConfigError
    for an unknown part, and as `check_disjoint`.
    """
    unknown = sorted(set(files) - set(PARTS))
    if unknown:
        values, fix = f"unknown: {', '.join(unknown)}", f"Parts are: {', '.join(PARTS)}."
        raise ConfigError("`files` names a part that does not exist.", values, fix)
    records: dict[Part, list[Record]] = {}
    bad, notes, sources = list[BadLine](), Counter[str](), dict[str, str]()
    read = repeated = 0
    given: list[Part] = [part for part in PARTS if part in files]
    for part in given:
        loaded = readers[part](files[part])
        records[part], again = collapse(loaded.records)
        read, repeated = read + len(loaded.records), repeated + again
        bad += loaded.bad_lines
        notes.update(loaded.notes)
        sources |= {f"{part}: {name}": digest for name, digest in loaded.sources.items()}
    split = Split(
        records_by_part=records,
        drawn_by_us=False,
        seed=seed,
        duplicates_collapsed=repeated,
        n_read=read,
        overlaps=check_disjoint(records),
        bad_lines=tuple(bad),
        notes=dict(notes),
        sources=sources,
    )
    audited = [record for part in ("private", "nonmembers") for record in records.get(part, ())]
    if not group_by or not audited:
        return split
    numbers = group_numbers(audited, group_by, 1.0, 1.0)
    ids = [record.id for record in audited]
    return record_groups(split, dict(zip(ids, numbers.tolist(), strict=True)), group_by)


def check_disjoint(
    records_by_part: Mapping[Part, Sequence[Record]], audited: Sequence[Part] = AUDITED
) -> dict[str, int]:
    """Refuse a record in two audited parts; count what other pairs of parts share.

    Raises DataError with the number of shared records and the first ids.
    """
    ids = {part: {record.id for record in records} for part, records in records_by_part.items()}
    pairs = {pair: sorted(ids[pair[0]] & ids[pair[1]]) for pair in combinations(ids, 2)}
    shared = {pair: common for pair, common in pairs.items() if common}
    refused = {pair: common for pair, common in shared.items() if set(pair) <= set(audited)}
    if refused:
        count = len(set().union(*refused.values()))
        what = f"{count} records are in two parts, which would fake the audit."
        parts = [f"{' & '.join(pair)}: {_some(common)}" for pair, common in refused.items()]
        fix = "Keep each in one part only; or give one pool as `source`: "
        fix += "its parts are drawn without overlap."
        raise DataError(what, "; ".join(parts), fix)
    for pair, common in shared.items():
        if not set(pair) <= set(AUDITED):
            message = "%d records are in both %s: the quality measured there is flattered"
            log.warning(message, len(common), " & ".join(pair))
    return {" & ".join(pair): len(common) for pair, common in shared.items()}


def _some(ids: Sequence[str]) -> str:
    """How many, and the first few."""
    more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
    return f"{len(ids)} ({', '.join(ids[:SHOWN_IDS])}{more})"
