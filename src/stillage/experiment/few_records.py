"""A word before hours of training where a split has fewer members or nonmembers than the audit's checks need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from stillage.run.folder import read_json
from stillage.types import Part

if TYPE_CHECKING:
    from stillage.experiment.context import Context

SIDES: tuple[Part, Part] = ("private", "nonmembers")
MOST = 0.8  # of a pool that both sides may take together, so that the other parts keep some


def records_checks_need() -> int:
    """Members, and as many nonmembers, with which the blind attackers can see whether the two differ by themselves."""
    from stillage.audit.blind import BLIND, N_FOLDS
    from stillage.audit.controls import FAMILY_LEVELS
    from stillage.audit.power import UNDECIDED_ABOVE
    from stillage.functional.power import records_to_find

    level = 1 - FAMILY_LEVELS["blind"] / len(BLIND)
    return records_to_find(UNDECIDED_ABOVE, level, n_folds=N_FOLDS)


def few_records_words(context: Context, counts: Mapping[str, int], undrawn: int = 0) -> str:
    """How many members and nonmembers there are, how many the checks need, and what would do; empty where they are enough.

    counts: records of each part. undrawn: records of the pool that no part drew.
    """
    if "audit" not in context.config.stages:
        return ""
    members, nonmembers = (counts.get(side, 0) for side in SIDES)
    needed = records_checks_need()
    if min(members, nonmembers) >= needed:
        return ""
    return (
        f"{members} members and {nonmembers} nonmembers: the audit's checks need {needed} of each, and will end in"
        f' "too few records to tell". {what_would_do(context, counts, undrawn, needed)}'
    )


def what_would_do(context: Context, counts: Mapping[str, int], undrawn: int, needed: int) -> str:
    """The setting that gives so many members and nonmembers."""
    from stillage.data.from_config import is_synthetic

    data = context.config.data
    if is_synthetic(data):
        return f"Enough: --data.people {needed}."
    if data.files:
        return (
            f"Enough: files of {needed} or more different records for private and nonmembers each."
        )
    total = sum(counts.values()) + undrawn
    share = math.ceil(100 * needed / max(1, total)) / 100
    wanted = {side: max(share, math.floor(100 * data.shares.get(side, 0)) / 100) for side in SIDES}
    if sum(wanted.values()) <= MOST:
        flags = " ".join(f"--data.shares.{side} {value:g}" for side, value in wanted.items())
        return f"Enough: {flags}."
    pool = math.ceil(needed / min(data.shares.get(side, 0) or 0.01 for side in SIDES))
    return f"Enough: a pool of {pool:,} different records with these shares (here: {total:,})."


def few_records_in(context: Context) -> str:
    """`few_records_words` of the records that the run has already drawn; empty where it has none yet."""
    path = context.run / "data" / "split.json"
    if not path.is_file():
        return ""
    from stillage.data.split import UNDRAWN

    about = read_json(path)
    return few_records_words(context, about["counts"], about["notes"].get(UNDRAWN, 0))
