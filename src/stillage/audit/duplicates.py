"""Duplicates, exact or near: nonmembers among members, audited ones in training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stillage.audit.validity import SHOWN, Check, Value
from stillage.functional.families import CONTAINMENT, JACCARD
from stillage.functional.overlap import common_limit, near_across, own_prompts
from stillage.functional.words import compared_form
from stillage.types import Array

NEAR_TOLERANCE = 0.01  # share of records that may have a near-duplicate where there should be none
NEAR = (
    f"a near-duplicate shares {JACCARD:.0%} of the word 5-grams of both,"
    f" or {CONTAINMENT:.0%} of the shorter text's"
)


def check_overlap(
    member_ids: Sequence[str],
    nonmember_ids: Sequence[str],
    member_texts: Sequence[str],
    nonmember_texts: Sequence[str],
    tolerance: float = NEAR_TOLERANCE,
) -> Check:
    """Check that no nonmember is also a member, exactly or nearly.

    Exactly: one id, one form compared; nearly: one family of near-copies. Fails on any exact
    overlap, on an id given twice within a side, and where more than `tolerance` of the nonmembers
    have a near-duplicate among the members. Texts: the whole record; the wording of templates is
    left out (functional.families).
    """
    both = sorted(set(member_ids) & set(nonmember_ids))
    repeated = len(member_ids) + len(nonmember_ids) - len(set(member_ids)) - len(set(nonmember_ids))
    near = near_across(member_texts, nonmember_texts)
    near_nonmembers: list[int] = np.flatnonzero(near.right_N).tolist()
    n_near = len(near_nonmembers)
    share = n_near / max(1, len(nonmember_ids))
    values: dict[str, Value] = {
        "in both": len(both),
        "in both, ids": both[:SHOWN],
        "repeated within a side": repeated,
        "nonmembers near a member": n_near,
        "near nonmembers, ids": [nonmember_ids[i] for i in near_nonmembers[:SHOWN]],
        "share near": share,
        "tolerance": tolerance,
        "5-grams compared": near.n_grams,
        "5-grams ignored as boilerplate": near.n_template,
        "what is near": NEAR,
    }
    detail = (
        f"{len(both)} records are member and nonmember at once, {repeated} are repeated,"
        f" {n_near} of {len(nonmember_ids)} nonmembers ({share:.1%}) are near-duplicates"
        " of a member."
    )
    passed = not both and not repeated and share <= tolerance
    return Check(name="overlap", passed=passed, fault="contaminated", detail=detail, values=values)


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


def check_training_overlap(
    prompts: Sequence[str],
    texts: Sequence[str],
    trained_prompts: Sequence[str],
    trained_texts: Sequence[str],
) -> Check:
    """Check that students were not trained on audited prompts or near-duplicates.

    The arguments: as of `trained_on`. Fails where more than 1 % of the audited records are
    concerned: what a student learned without the teacher is not inherited.
    """
    same, near = trained_on(prompts, texts, trained_prompts, trained_texts)
    share = int((same | near).sum()) / max(1, len(prompts))
    detail = (
        f"The students are trained on the prompts of {same.sum()} and on near-duplicates of"
        f" {near.sum()} of {len(prompts)} members and nonmembers ({share:.1%})."
    )
    values: dict[str, Value] = {
        "same prompt": int(same.sum()),
        "near": int(near.sum()),
        "tolerance": NEAR_TOLERANCE,
    }
    passed = share <= NEAR_TOLERANCE
    return Check(
        name="training_overlap", passed=passed, fault="contaminated", detail=detail, values=values
    )
