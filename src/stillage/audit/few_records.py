"""Warn before hours of training of fewer records than the audit's checks need."""

from __future__ import annotations

import math
from collections.abc import Mapping

from stillage.run.config import Config, DataConfig
from stillage.run.folder import read_json
from stillage.types import SIDES

MOST = 0.8  # of a pool that both sides may take together, so that the other parts keep some


def records_checks_need() -> int:
    """Count the members that blind attackers need to see a shift; as many nonmembers."""
    from stillage.audit.blind import BLIND, N_FOLDS
    from stillage.audit.controls import FAMILY_LEVELS
    from stillage.audit.detectable import UNDECIDED_ABOVE
    from stillage.functional.power import records_to_find

    level = 1 - FAMILY_LEVELS["blind"] / len(BLIND)
    return records_to_find(UNDECIDED_ABOVE, level, n_folds=N_FOLDS)


def few_records_words(config: Config, counts: Mapping[str, int], undrawn: int = 0) -> str:
    """Say how many members and nonmembers there are and would do; empty for enough.

    counts: records of each part. undrawn: records of the pool that no part drew.
    """
    if "audit" not in config.stages:
        return ""
    members, nonmembers = (counts.get(side, 0) for side in SIDES)
    needed = records_checks_need()
    if min(members, nonmembers) >= needed:
        return ""
    return (
        f"{members} members and {nonmembers} nonmembers: the audit's checks need {needed} of each,"
        f' and will end in "too few records to tell".'
        f" {what_would_do(config.data, counts, undrawn, needed)}"
    )


def what_would_do(data: DataConfig, counts: Mapping[str, int], undrawn: int, needed: int) -> str:
    """Name the setting that gives so many members and nonmembers."""
    from stillage.data.from_config import is_synthetic

    if is_synthetic(data):
        return f"Enough: --data.people {needed}."
    if data.files:
        files = f"files of {needed} or more different records"
        return f"Enough: {files} for private and nonmembers each."
    total = sum(counts.values()) + undrawn
    share = math.ceil(100 * needed / max(1, total)) / 100
    wanted = {side: max(share, math.floor(100 * data.shares.get(side, 0)) / 100) for side in SIDES}
    if sum(wanted.values()) <= MOST:
        flags = " ".join(f"--data.shares.{side} {value:g}" for side, value in wanted.items())
        return f"Enough: {flags}."
    pool = math.ceil(needed / min(data.shares.get(side, 0) or 0.01 for side in SIDES))
    return f"Enough: a pool of {pool:,} different records with these shares (here: {total:,})."


def few_records_in(config: Config) -> str:
    """Say `few_records_words` of the records a run has drawn; empty where it has none."""
    path = config.out / "data" / "split.json"
    if not path.is_file():
        return ""
    from stillage.data.split import UNDRAWN

    about = read_json(path)
    return few_records_words(config, about["counts"], about["notes"].get(UNDRAWN, 0))
