"""Audited records that leave the evaluation: students' own, or near members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Literal

from stillage.audit.duplicates import trained_on
from stillage.audit.validity import Check
from stillage.data.coins import BERNOULLI
from stillage.data.grouping import prompt_text, whole_text
from stillage.data.split import Split
from stillage.functional.overlap import near_across

Why = Literal["trained", "near"]
WORDS: Mapping[Why, str] = {
    "trained": "because the students were trained on them",
    "near": "because they are near-duplicates of members",
}
LEAST_KEPT = (
    2  # records of each side; where fewer would be left, all stay and the check has failed anyway
)


def left_out(split: Split, *, learns_public: bool) -> dict[str, Why]:
    """Decide which records nothing evaluates, and why; by id.

    Every member and nonmember whose own prompt or near-duplicate is among what students of this run
    were trained on, and every nonmember that is a near-duplicate of a member: a few of them, which
    the checks tolerate, would be the whole leak. Nothing where a side would keep fewer than 2
    records, nor where each record had a coin (data.inclusion bernoulli): the one-run audit needs
    every coin, and they stay fair only where nobody leaves for what they decided. learns_public: a
    student of this run was trained on the public records.
    """
    members, nonmembers = (
        list(split.records_by_part.get(part, ())) for part in ("private", "nonmembers")
    )
    if split.inclusion == BERNOULLI or not members or not nonmembers:
        return {}
    reasons: dict[str, Why] = {}
    near = near_across(
        [whole_text(record) for record in members], [whole_text(record) for record in nonmembers]
    )
    for record, is_near in zip(nonmembers, near.right_N.tolist(), strict=True):
        if is_near:
            reasons[record.id] = "near"
    if learns_public:
        audited, public = [*members, *nonmembers], split.records_by_part.get("public", [])
        same, like = trained_on(
            [prompt_text(record) for record in audited],
            [whole_text(record) for record in audited],
            [prompt_text(record) for record in public],
            [whole_text(record) for record in public],
        )
        for record, is_trained in zip(audited, (same | like).tolist(), strict=True):
            if is_trained:
                reasons[record.id] = "trained"
    kept = [sum(record.id not in reasons for record in side) for side in (members, nonmembers)]
    return reasons if min(kept) >= LEAST_KEPT else {}


def saying(check: Check, split: Split, left: Mapping[str, Why], why: Why) -> Check:
    """Add to the check how many of each side left the evaluation for this reason."""
    if why not in left.values():
        return check
    count = Counter(
        part
        for part in ("private", "nonmembers")
        for record in split.records_by_part.get(part, ())
        if left.get(record.id) == why
    )
    detail = (
        f"{count['private']} members and {count['nonmembers']} nonmembers left the "
        f"evaluation {WORDS[why]}."
    )
    values = {"members left out": count["private"], "nonmembers left out": count["nonmembers"]}
    return replace(check, detail=f"{check.detail} {detail}", values={**check.values, **values})
