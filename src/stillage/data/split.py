"""Who gets which record: a recorded random draw, or a file per role; never one record in two audited roles."""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, cast

from stillage.data.groups import NEAR, draw_groups, group_numbers
from stillage.data.records import BadLine, Loaded, read_records
from stillage.errors import ConfigError, DataError
from stillage.rng import generator
from stillage.run.folder import read_json, read_table, write_json, write_table
from stillage.run.ranges import check_shares
from stillage.types import ROLES, Record, Role

log = logging.getLogger("stillage")
AUDITED: tuple[Role, ...] = ("private", "public", "outsiders", "counterfactual")
"""Roles that must not share a record: a non-member that was trained on, or a member on both sides, fakes the audit."""
SHOWN_IDS = 5
UNDRAWN = "records that no role draws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The records of each role, and how they came there; what split.json and records.parquet hold."""

    records_by_role: Mapping[Role, list[Record]]
    drawn_by_us: bool
    seed: int
    shares: Mapping[str, float] = field(default_factory=dict)
    duplicates_collapsed: int = (
        0  # exact repetitions of a record within the pool, or within a role's own file
    )
    n_read: int = 0  # records read, repetitions included; 0 where none were read (made-up people)
    overlaps: Mapping[str, int] = field(
        default_factory=dict
    )  # "public & test" -> records in both (quality only)
    bad_lines: tuple[BadLine, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)  # what reading changed, counted by kind
    group_by: str = ""  # which records were drawn together: "near" (duplicates), or those with one value of a column
    groups: int = (
        0  # how many of them, records of their own included; 0: every record was drawn alone
    )
    largest_group: int = 0  # records
    group_of: Mapping[str, str] = field(
        default_factory=dict
    )  # record id -> name of its group; none: it is alone
    sources: Mapping[str, str] = field(default_factory=dict)  # name of an input -> sha256
    train_on: Mapping[str, Mapping[str, str | int]] = field(
        default_factory=dict
    )  # "teacher", "student" -> what was chosen
    inclusion: str = "fixed"  # "bernoulli": a fair coin of its own put each group among the private records or outsiders

    @property
    def counts(self) -> dict[str, int]:
        """Records per role."""
        return {role: len(records) for role, records in self.records_by_role.items()}

    def groups_of(self, records: Iterable[Record]) -> tuple[str, ...]:
        """For each record the name of its group; "" for one that is alone."""
        return tuple(self.group_of.get(record.id, "") for record in records)

    @property
    def copies(self) -> str:
        """How many records were exact copies, and what follows; empty where none was."""
        if not self.duplicates_collapsed:
            return ""
        all_read = f" of {self.n_read:,}" if self.n_read else ""
        return (
            f"{self.duplicates_collapsed:,}{all_read} records were exact copies;"
            " models trained here see each text once"
        )

    def summary(self) -> str:
        """One line: the counts, and everything that was left out, collapsed or changed."""
        return "; ".join(
            [", ".join(f"{role} {count}" for role, count in self.counts.items()), *self.remarks()]
        )

    def remarks(self) -> list[str]:
        """What was left out, collapsed or changed, and how the draw went, one remark each."""
        alone = sum(not record.response for record in self.records_by_role.get("public", ()))
        parts = [f"{alone} of the public records are prompts alone"] * bool(alone)
        parts += [self.copies] if self.copies else []
        together = "near-duplicates" if self.group_by == NEAR else f"equal {self.group_by}"
        drawn = " together" if self.drawn_by_us else ""
        parts += [f"{together}{drawn}: {self.groups} groups, largest {self.largest_group}"] * bool(
            self.groups
        )
        parts += ["private or outsider by a coin each"] * (self.inclusion == "bernoulli")
        parts += [f"{who} trains on {about['choice']}" for who, about in self.train_on.items()]
        parts += [f"{len(self.bad_lines)} broken lines left out"] * bool(self.bad_lines)
        parts += [f"{count} records in {pair}" for pair, count in self.overlaps.items()]
        return parts + [f"{kind}: {count}" for kind, count in sorted(self.notes.items())]


def collapse(records: Iterable[Record]) -> tuple[list[Record], int]:
    """The first record of each id, in order, and how many repetitions were left out."""
    unique: dict[str, Record] = {}
    total = 0
    for record in records:
        total += 1
        unique.setdefault(record.id, record)
    return list(unique.values()), total - len(unique)


def allot(
    records: Sequence[Record], counts: Mapping[Role, int], seed: int
) -> dict[Role, list[Record]]:
    """Give each role its number of records, at random: sort by id (so file order decides nothing), permute, cut.

    The ids must be unique, and enough. The same records, counts and seed give the same roles.
    """
    assert sum(counts.values()) <= len(records)
    ordered = sorted(records, key=lambda record: record.id)
    assert len({record.id for record in ordered}) == len(ordered)
    order = generator(seed, "split").permutation(len(ordered))
    result: dict[Role, list[Record]] = {}
    start = 0
    for role, count in counts.items():
        result[role] = [ordered[index] for index in order[start : start + count]]
        start += count
    return result


def share_counts(total: int, shares: Mapping[str, float]) -> dict[Role, int]:
    """How many of `total` records each role gets: the cumulative shares, rounded, so that the counts add up.

    Raises ConfigError as ranges.check_shares; DataError when a role gets none.
    """
    check_shares(shares)
    wanted: list[Role] = [role for role in ROLES if shares.get(role, 0) > 0]
    counts: dict[Role, int] = {}
    cumulative, used = 0.0, 0
    for role in wanted:
        cumulative += shares[role]
        upto = min(math.floor(cumulative * total + 0.5), total)
        counts[role], used = upto - used, upto
    starved = [role for role in wanted if counts[role] == 0]
    if starved:
        values = f"{total} different records; none left for: {', '.join(starved)}"
        fix = "Give more records, larger shares for these roles, or a share of 0 to roles that you do not need."
        raise DataError("There are fewer records than the roles need.", values, fix)
    return counts


def draw(
    records: Sequence[Record], shares: Mapping[str, float], seed: int, group_by: str = ""
) -> dict[Role, list[Record]]:
    """Draw the roles from one pool, at random and independently of file order; exact duplicates are collapsed first.

    group_by: what stays together (`groups.group_numbers`). Raises ConfigError for shares that make no sense, DataError
    when a role would get no record.
    """
    return dict(drawn(Loaded(records=list(records)), shares, seed, group_by).records_by_role)


def drawn(loaded: Loaded, shares: Mapping[str, float], seed: int, group_by: str = "") -> Split:
    """The split drawn from one input, with everything worth recording about it."""
    unique, repeated = collapse(loaded.records)
    counts = share_counts(len(unique), shares)
    undrawn = len(unique) - sum(counts.values())
    notes = {UNDRAWN: undrawn} if undrawn else {}
    found = Split(
        records_by_role={} if group_by else allot(unique, counts, seed),
        drawn_by_us=True,
        seed=seed,
        shares=dict(shares),
        duplicates_collapsed=repeated,
        n_read=len(loaded.records),
        bad_lines=loaded.bad_lines,
        notes={**loaded.notes, **notes},
        sources=loaded.sources,
    )
    if not group_by:
        return found
    by_role, numbers = draw_groups(unique, counts, seed, group_by)
    return grouped(replace(found, records_by_role=by_role), numbers, group_by)


def grouped(split: Split, numbers: Mapping[str, int], group_by: str) -> Split:
    """The split with the groups of its records written down. numbers: record id -> group number."""
    sizes = Counter(numbers.values())
    return replace(
        split,
        group_by=group_by,
        groups=len(sizes),
        largest_group=max(sizes.values(), default=0),
        group_of={id_: str(number) for id_, number in numbers.items() if sizes[number] > 1},
    )


def given(
    files: Mapping[str, str | Path],
    *,
    read: Callable[[str | Path], Loaded] = read_records,
    read_public: Callable[[str | Path], Loaded] | None = None,
    seed: int = 0,
    group_by: str = "",
) -> Split:
    """The split that the user made: an input for each role. read: what makes records of an input.

    read_public: the same for the public input, which may hold prompts without an answer; None: read.
    group_by: which private records and outsiders are no independent draws (`groups.group_numbers`), for the intervals.
    Raises ConfigError for an unknown role, DataError when one record is in two of private, public, outsiders and
    counterfactual (validation and test may share records with them: counted in `overlaps`).
    """
    unknown = sorted(set(files) - set(ROLES))
    if unknown:
        fix = f"Roles are: {', '.join(ROLES)}."
        raise ConfigError(
            "`files` names a role that does not exist.", f"unknown: {', '.join(unknown)}", fix
        )
    records: dict[Role, list[Record]] = {}
    n_read, repeated, bad, sources = 0, 0, [], {}
    notes: Counter[str] = Counter()
    for role in _of(files):
        loaded = (read_public or read if role == "public" else read)(files[role])
        records[role], again = collapse(loaded.records)
        n_read += len(loaded.records)
        repeated += again
        bad += loaded.bad_lines
        notes.update(loaded.notes)
        sources |= {f"{role}: {name}": digest for name, digest in loaded.sources.items()}
    found = Split(
        records_by_role=records,
        drawn_by_us=False,
        seed=seed,
        duplicates_collapsed=repeated,
        n_read=n_read,
        overlaps=check_disjoint(records),
        bad_lines=tuple(bad),
        notes=dict(notes),
        sources=sources,
    )
    audited = [record for role in ("private", "outsiders") for record in records.get(role, ())]
    if not group_by or not audited:
        return found
    numbers = group_numbers(audited, group_by, 1.0, 1.0)
    return grouped(
        found, dict(zip((record.id for record in audited), numbers.tolist(), strict=True)), group_by
    )


def _of(files: Mapping[str, str | Path]) -> list[Role]:
    """The roles that have a file, in their order."""
    return [role for role in ROLES if role in files]


def check_disjoint(
    records_by_role: Mapping[Role, Sequence[Record]], audited: Sequence[Role] = AUDITED
) -> dict[str, int]:
    """Refuse a record that is in two audited roles; return how many records other pairs of roles share.

    Raises DataError with the number of shared records and the first ids.
    """
    ids = {role: {record.id for record in records} for role, records in records_by_role.items()}
    shared = {pair: sorted(ids[pair[0]] & ids[pair[1]]) for pair in combinations(ids, 2)}
    refused = {
        pair: common for pair, common in shared.items() if common and set(pair) <= set(audited)
    }
    if refused:
        parts = [f"{' & '.join(pair)}: {_some(common)}" for pair, common in refused.items()]
        count = len(set().union(*refused.values()))
        fix = "Keep each in one role only; or give one pool as `source`: its roles are drawn without overlap."
        raise DataError(
            f"{count} records are in two roles, which would fake the audit.", "; ".join(parts), fix
        )
    overlaps = {" & ".join(pair): len(common) for pair, common in shared.items() if common}
    for pair, count in overlaps.items():
        if not set(pair.split(" & ")) <= set(AUDITED):
            log.warning(
                "%d records are in both %s: the quality measured there is flattered", count, pair
            )
    return overlaps


def _some(ids: Sequence[str]) -> str:
    """How many, and the first few."""
    more = f" and {len(ids) - SHOWN_IDS} more" if len(ids) > SHOWN_IDS else ""
    return f"{len(ids)} ({', '.join(ids[:SHOWN_IDS])}{more})"


def write_split(folder: Path, split: Split) -> None:
    """Write records.parquet (one row a record, in the order of roles) and, last, split.json (how it came about)."""
    import pyarrow as pa

    rows = [
        {
            "id": record.id,
            "role": role,
            "prompt": record.prompt,
            "input": record.input,
            "response": record.response,
            "messages": json.dumps(record.messages, ensure_ascii=False),
            "source": record.source,
            "meta": json.dumps(dict(record.meta), ensure_ascii=False, sort_keys=True),
            "group": split.group_of.get(record.id, ""),
        }
        for role in ROLES
        for record in split.records_by_role.get(role, ())
    ]
    names = ("id", "role", "prompt", "input", "response", "messages", "source", "meta", "group")
    write_table(
        folder / "records.parquet",
        pa.Table.from_pylist(rows, pa.schema([(n, pa.string()) for n in names])),
    )
    write_json(
        folder / "split.json",
        {
            "drawn_by_us": split.drawn_by_us,
            "seed": split.seed,
            "shares": dict(split.shares),
            "counts": split.counts,
            "duplicates_collapsed": split.duplicates_collapsed,
            "n_read": split.n_read,
            "copies": split.copies,
            "overlaps": dict(split.overlaps),
            "bad_lines": [[line.file, line.line, line.reason] for line in split.bad_lines],
            "notes": dict(split.notes),
            "group_by": split.group_by,
            "groups": split.groups,
            "largest_group": split.largest_group,
            "sources": dict(split.sources),
            "train_on": {who: dict(about) for who, about in split.train_on.items()},
            "inclusion": split.inclusion,
        },
    )
    log.info("split: %s", split.summary())


def read_split(folder: Path) -> Split:
    """Read what `write_split` wrote. Raises DataError when it is not there."""
    if not (folder / "split.json").exists() or not (folder / "records.parquet").exists():
        fix = "Run the data stage first: stillage data CONFIG."
        raise DataError(
            "The folder holds no split.",
            f"looked for split.json and records.parquet in {folder}",
            fix,
        )
    about = cast("dict[str, Any]", read_json(folder / "split.json"))
    records: dict[Role, list[Record]] = {role: [] for role in ROLES if role in about["counts"]}
    group_of: dict[str, str] = {}
    for row in read_table(folder / "records.parquet").to_pylist():
        role, group = cast("Role", row.pop("role")), row.pop("group")
        if group:
            group_of[row["id"]] = group
        row["messages"] = tuple(
            (speaker, content) for speaker, content in json.loads(row["messages"])
        )
        records[role].append(Record(**(row | {"meta": json.loads(row["meta"])})))
    return Split(
        records_by_role=records,
        drawn_by_us=about["drawn_by_us"],
        seed=about["seed"],
        shares=about["shares"],
        duplicates_collapsed=about["duplicates_collapsed"],
        n_read=about.get("n_read", 0),  # absent where an older version drew
        overlaps=about["overlaps"],
        bad_lines=tuple(
            BadLine(file=file, line=line, reason=reason)
            for file, line, reason in about["bad_lines"]
        ),
        notes=about["notes"],
        group_by=about["group_by"],
        groups=about["groups"],
        largest_group=about["largest_group"],
        group_of=group_of,
        sources=about["sources"],
        train_on=about.get("train_on", {}),
        inclusion=about.get("inclusion", "fixed"),  # absent where an older version drew
    )
