"""Audited records that leave the evaluation: students' own, or near members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import compress
from typing import Literal

from stillage.audit.duplicates import Sides
from stillage.audit.validity import Check
from stillage.data.coins import BERNOULLI

Why = Literal["trained", "near"]
WORDS: Mapping[Why, str] = {
    "trained": "because the students were trained on them",
    "near": "because they are near-duplicates of members",
}
LEAST_KEPT = 2
"""Records of each side; where fewer would be left, all stay and the check has failed anyway."""


def left_out(sides: Sides, *, learns_public: bool) -> dict[str, Why]:
    """Decide which records nothing evaluates, and why; by id.

    Every member and nonmember whose own prompt or near-duplicate is among what students of this run
    were trained on, and every nonmember that is a near-duplicate of a member: a few of them, which
    the checks tolerate, would be the whole leak. Nothing where a side would keep fewer than 2
    records, nor where each record had a coin (data.inclusion bernoulli): the one-run audit needs
    every coin, and they stay fair only where nobody leaves for what they decided. learns_public: a
    student of this run was trained on the public records.
    """
    members, nonmembers = sides.records
    if sides.split.inclusion == BERNOULLI or not members or not nonmembers:
        return {}
    near = compress(nonmembers, sides.across.right_N)
    reasons: dict[str, Why] = {record.id: "near" for record in near}
    if learns_public:
        same, like = sides.trained
        for record in compress([*members, *nonmembers], same | like):
            reasons[record.id] = "trained"
    kept = [sum(record.id not in reasons for record in side) for side in sides.records]
    return reasons if min(kept) >= LEAST_KEPT else {}


def saying(check: Check, sides: Sides, left: Mapping[str, Why], why: Why) -> Check:
    """Add to the check how many of each side left the evaluation for this reason."""
    members, nonmembers = (
        sum(left.get(record.id) == why for record in side) for side in sides.records
    )
    if not members + nonmembers:
        return check
    detail = f"{members} members and {nonmembers} nonmembers left the evaluation {WORDS[why]}."
    values = {"members left out": members, "nonmembers left out": nonmembers}
    return replace(check, detail=f"{check.detail} {detail}", values={**check.values, **values})
