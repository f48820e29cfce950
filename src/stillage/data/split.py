"""The split: the records of each part and how they came there."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, cast

from stillage.corpus.rows import BadLine
from stillage.data.grouping import NEAR
from stillage.errors import DataError
from stillage.run.folder import read_json, read_table, write_json, write_table
from stillage.types import PARTS, Part, Record

log = logging.getLogger("stillage")
COLUMNS = ("id", "part", "prompt", "input", "response", "messages", "source", "meta", "group")
"""Of records.parquet, all of them text."""
UNDRAWN = "records that no part draws"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The records of each part, and how they came there."""

    records_by_part: Mapping[Part, list[Record]]
    drawn_by_us: bool
    seed: int
    shares: Mapping[str, float] = field(default_factory=dict)
    # exact repetitions of a record within the pool, or within a part's own file
    duplicates_collapsed: int = 0
    n_read: int = 0  # records read, repetitions included; 0 where none were read (made-up people)
    # "public & test" -> records in both (quality only)
    overlaps: Mapping[str, int] = field(default_factory=dict)
    bad_lines: tuple[BadLine, ...] = ()
    notes: Mapping[str, int] = field(default_factory=dict)  # what reading changed, by kind
    # which records were drawn together: "near" (duplicates), or those with one value of a column
    group_by: str = ""
    # how many of them, records of their own included; 0: every record was drawn alone
    groups: int = 0
    largest_group: int = 0  # records
    # record id -> name of its group; none: it is alone
    group_of: Mapping[str, str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)  # name of an input -> sha256
    # "teacher", "student" -> which records were chosen to train it
    train_on: Mapping[str, Mapping[str, str | int]] = field(default_factory=dict)
    # "bernoulli": a fair coin of its own put each group among the private records or nonmembers
    inclusion: str = "fixed"

    @property
    def counts(self) -> dict[str, int]:
        """Records per part."""
        return {part: len(records) for part, records in self.records_by_part.items()}

    def group_names(self, records: Iterable[Record]) -> tuple[str, ...]:
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
        counts = ", ".join(f"{part} {count}" for part, count in self.counts.items())
        return "; ".join([counts, *self.remarks()])

    def remarks(self) -> list[str]:
        """What was left out, collapsed or changed, and how the draw went, one remark each."""
        alone = sum(not record.response for record in self.records_by_part.get("public", ()))
        together = "near-duplicates" if self.group_by == NEAR else f"equal {self.group_by}"
        drawn = " together" if self.drawn_by_us else ""
        sizes = f"{self.groups} groups, largest {self.largest_group}"
        return [
            *[f"{alone} of the public records are prompts alone"] * bool(alone),
            *[self.copies] * bool(self.copies),
            *[f"{together}{drawn}: {sizes}"] * bool(self.groups),
            *["private or nonmember by a coin each"] * (self.inclusion == "bernoulli"),
            *[f"{who} trains on {about['choice']}" for who, about in self.train_on.items()],
            *[f"{len(self.bad_lines)} broken lines left out"] * bool(self.bad_lines),
            *[f"{count} records in {pair}" for pair, count in self.overlaps.items()],
            *[f"{kind}: {count}" for kind, count in sorted(self.notes.items())],
        ]


IN_JSON = [one.name for one in fields(Split) if one.name not in ("records_by_part", "group_of")]
"""What split.json holds, besides the counts; the rest is in records.parquet."""


def write_split(folder: Path, split: Split) -> None:
    """Write records.parquet (a row a record) and, last, split.json."""
    import pyarrow as pa

    rows = [
        {
            **{entry.name: getattr(record, entry.name) for entry in fields(record)},
            "part": part,
            "messages": json.dumps(record.messages, ensure_ascii=False),
            "meta": json.dumps(dict(record.meta), ensure_ascii=False, sort_keys=True),
            "group": split.group_of.get(record.id, ""),
        }
        for part in PARTS
        for record in split.records_by_part.get(part, ())
    ]
    schema = pa.schema([(name, pa.string()) for name in COLUMNS])
    write_table(folder / "records.parquet", pa.Table.from_pylist(rows, schema))
    about = {name: getattr(split, name) for name in IN_JSON}
    about |= {"counts": split.counts, "copies": split.copies}
    about["bad_lines"] = [[line.file, line.line, line.reason] for line in split.bad_lines]
    write_json(folder / "split.json", about)
    log.info("split: %s", split.summary())


def read_split(folder: Path) -> Split:
    """Read what `write_split` wrote. Raises DataError when it is not there."""
    if not (folder / "split.json").exists() or not (folder / "records.parquet").exists():
        values = f"looked for split.json and records.parquet in {folder}"
        fix = "Run the data stage first: stillage data CONFIG."
        raise DataError("The folder holds no split.", values, fix)
    about = cast("dict[str, Any]", read_json(folder / "split.json"))
    records: dict[Part, list[Record]] = {part: [] for part in PARTS if part in about["counts"]}
    group_of: dict[str, str] = {}
    for row in read_table(folder / "records.parquet").to_pylist():
        part, group = cast("Part", row.pop("part")), row.pop("group")
        if group:
            group_of[row["id"]] = group
        messages = tuple((speaker, words) for speaker, words in json.loads(row["messages"]))
        record = Record(**{**row, "messages": messages, "meta": json.loads(row["meta"])})
        records[part].append(record)
    known = {name: about[name] for name in IN_JSON if name in about}  # an older split has fewer
    known["bad_lines"] = tuple(
        BadLine(file=file, line=line, reason=reason) for file, line, reason in about["bad_lines"]
    )
    return Split(records_by_part=records, group_of=group_of, **known)
