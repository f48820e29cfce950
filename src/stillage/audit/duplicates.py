"""Duplicates, exact or near: nonmembers among members, audited ones in training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stillage.audit.validity import CONTAMINATED, SHOWN, Check, Value
from stillage.corpus.families import CONTAINMENT, JACCARD
from stillage.corpus.near_copies import Across, common_limit, near_across, own_prompts
from stillage.data.grouping import prompt_text, whole_text
from stillage.data.split import Split
from stillage.functional.words import compared_form
from stillage.types import SIDES, Array, Record

NEAR_TOLERANCE = 0.01  # share of records that may have a near-duplicate where there should be none
NEAR = (
    f"a near-duplicate shares {JACCARD:.0%} of the word 5-grams of both,"
    f" or {CONTAINMENT:.0%} of the shorter text's"
)


@dataclass(frozen=True, kw_only=True)
class Sides:
    """All members and nonmembers of a split, audited or not, and their near-copies.

    Each search is made when it is first asked for, and kept as long as this object: who leaves the
    evaluation, and the checks of it, go by the same finds.
    """

    split: Split

    @cached_property
    def records(self) -> tuple[list[Record], list[Record]]:
        """The members, and the nonmembers."""
        members, nonmembers = (list(self.split.records_by_part.get(part, ())) for part in SIDES)
        return members, nonmembers

    @cached_property
    def across(self) -> Across:
        """Which of them have a near-copy on the other side, by their whole texts."""
        members, nonmembers = self.records
        return near_across(list(map(whole_text, members)), list(map(whole_text, nonmembers)))

    @cached_property
    def trained(self) -> tuple[Array, Array]:
        """Tell which, members first, are among the public records; see `trained_on`."""
        audited = [record for side in self.records for record in side]
        public = self.split.records_by_part.get("public", ())
        return trained_on(
            list(map(prompt_text, audited)),
            list(map(whole_text, audited)),
            list(map(prompt_text, public)),
            list(map(whole_text, public)),
        )


def check_overlap(member_ids: Sequence[str], nonmember_ids: Sequence[str], near: Across) -> Check:
    """Check that no nonmember is also a member, by its id or nearly.

    Fails on any exact overlap, on an id given twice within a side, and where more than 1 % of the
    nonmembers have a near-duplicate among the members (the wording of templates is left out:
    corpus.families).
    """
    both = sorted(set(member_ids) & set(nonmember_ids))
    repeated = len(member_ids) + len(nonmember_ids) - len(set(member_ids)) - len(set(nonmember_ids))
    near_ids = [nonmember_ids[index] for index in np.flatnonzero(near.right_N).tolist()]
    share = len(near_ids) / max(1, len(nonmember_ids))
    values: dict[str, Value] = {
        "in both": len(both),
        "in both, ids": both[:SHOWN],
        "repeated within a side": repeated,
        "nonmembers near a member": len(near_ids),
        "near nonmembers, ids": near_ids[:SHOWN],
        "share near": share,
        "tolerance": NEAR_TOLERANCE,
        "5-grams compared": near.n_grams,
        "5-grams ignored as boilerplate": near.n_template,
        "what is near": NEAR,
    }
    detail = (
        f"{len(both)} records are member and nonmember at once, {repeated} are repeated,"
        f" {len(near_ids)} of {len(nonmember_ids)} nonmembers ({share:.1%}) are near-duplicates"
        " of a member."
    )
    passed = not both and not repeated and share <= NEAR_TOLERANCE
    return Check(name="overlap", passed=passed, fault=CONTAMINATED, detail=detail, values=values)


def trained_on(
    prompts: Sequence[str],
    texts: Sequence[str],
    trained_prompts: Sequence[str],
    trained_texts: Sequence[str],
) -> tuple[Array, Array]:
    """Mark the audited records that the students were trained on by themselves.

    bool[n] by their prompt, bool[n] nearly. prompts, texts: of every member and nonmember;
    trained_*: of what the students learn from. A prompt counts where it is a record's own
    (`own_prompts`), as `compared_form` has it.
    """
    own = own_prompts(
        [*prompts, *trained_prompts], common_limit(len(prompts) + len(trained_prompts))
    )
    own &= set(map(compared_form, trained_prompts))
    same = np.array([compared_form(prompt) in own for prompt in prompts], dtype=bool)
    return same, near_across(texts, trained_texts).left_N


def check_training_overlap(same: Array, near: Array) -> Check:
    """Check that students were not trained on audited prompts or near-duplicates.

    same, near: as of `trained_on`. Fails where more than 1 % of the audited records are concerned:
    what a student learned without the teacher is not inherited.
    """
    share = int((same | near).sum()) / max(1, same.size)
    detail = (
        f"The students are trained on the prompts of {same.sum()} and on near-duplicates of"
        f" {near.sum()} of {same.size} members and nonmembers ({share:.1%})."
    )
    return Check(
        name="training_overlap",
        passed=share <= NEAR_TOLERANCE,
        fault=CONTAMINATED,
        detail=detail,
        values={
            "same prompt": int(same.sum()),
            "near": int(near.sum()),
            "tolerance": NEAR_TOLERANCE,
        },
    )
