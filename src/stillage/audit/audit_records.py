"""The records of an audit: who is evaluated, who leaves and why, who is a prefix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from stillage.audit.draw_records import some_groups
from stillage.audit.duplicates import Sides
from stillage.audit.group_labels import Labels, group_labels
from stillage.audit.left_out import Why, left_out
from stillage.audit.membership import Audited
from stillage.audit.prefix import Prefixes, draw_prefixes
from stillage.audit.queries import queries_for
from stillage.data.split import Split
from stillage.run.audit_config import AuditConfig
from stillage.types import SIDES, Attack, Part, Record


@dataclass(frozen=True, kw_only=True)
class AuditRecords:
    """The evaluated records in one order, members first, and the split they are from."""

    sides: Sides
    left: Mapping[str, Why]  # record id -> why it leaves the evaluation
    records: tuple[Record, ...]
    parts: tuple[str, ...]  # private or nonmembers, of each
    prefixes: Prefixes

    @property
    def split(self) -> Split:
        """The split that they are from."""
        return self.sides.split

    @cached_property
    def audited(self) -> Audited:
        """The records as the statistics want them."""
        return Audited(
            ids=tuple(record.id for record in self.records),
            parts=self.parts,
            texts=tuple(record.response for record in self.records),
            groups=self.split.group_names(self.records),
        )

    @cached_property
    def public(self) -> tuple[Record, ...]:
        """The public records of the split."""
        return tuple(self.split.records_by_part.get("public", ()))

    def labels(self, columns: Sequence[str]) -> Labels:
        """Return each measured record's group in every column."""
        return group_labels(self.split, columns)

    def some(self, most: int, seed: int, purpose: str) -> AuditRecords:
        """Draw at most `most` records of each part, whole groups; 0: all."""
        groups = self.split.group_names(self.records)
        records, parts = some_groups(self.records, self.parts, groups, most, seed, purpose)
        return replace(self, records=tuple(records), parts=parts)


def choose_records(
    split: Split, attacks: Sequence[Attack], audit: AuditConfig, seed: int, *, learns_public: bool
) -> AuditRecords:
    """Choose whom an audit evaluates: at most audit.max_records of each kind.

    Members and nonmembers: a recorded draw of whole groups; without those that leave the evaluation
    (`left_out`; the split's checks count them) and those that an attack gives away as prefixes.
    learns_public: as in `left_out`.
    """
    sides = Sides(split=split)
    left = left_out(sides, learns_public=learns_public)
    pool, parts = sorted_parts(split, SIDES, left)
    groups = split.group_names(pool)
    records, parts = some_groups(pool, parts, groups, audit.max_records, seed, "audit")
    away, groups = given_away(attacks, audit.prefix_records), split.group_names(records)
    members, nonmembers = (away.get(side, 0) for side in SIDES)
    prefixes = draw_prefixes(
        records, parts, groups, seed=seed, nonmembers=nonmembers, members=members
    )
    return AuditRecords(
        sides=sides,
        left=left,
        records=tuple(records[index] for index in prefixes.kept),
        parts=tuple(parts[index] for index in prefixes.kept),
        prefixes=prefixes,
    )


def sorted_parts(
    split: Split, parts: Sequence[Part], left: Mapping[str, Why]
) -> tuple[list[Record], list[str]]:
    """List the records of some parts but for those that left, by id, and their parts."""
    records: list[Record] = []
    of: list[str] = []
    for part in parts:
        kept = (record for record in split.records_by_part.get(part, ()) if record.id not in left)
        records += sorted(kept, key=lambda record: record.id)
        of += [part] * (len(records) - len(of))
    return records, of


def given_away(attacks: Sequence[Attack], count: int) -> dict[str, int]:
    """Count the records of each part that attacks take as prefixes; empty for none."""
    asked = queries_for(attacks)
    wish = {"nonmembers": "nonmember_prefix" in asked, "private": "member_prefix" in asked}
    return {part: count for part, is_asked in wish.items() if is_asked and count}
