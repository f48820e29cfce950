"""The group of records that is told apart best, in a sentence."""

from __future__ import annotations

import math

from stillage.report.claims import own_controls, subject
from stillage.report.run_view import RunView
from stillage.report.wording import interval, words
from stillage.types import Result


def group_words(view: RunView) -> str:
    """Say which group is told apart best, and what the controls reach there.

    Empty where no groups were asked for, or the split is not valid.
    """
    model = subject(view)
    rows = [row for row in group_rows(view, model) if not math.isnan(row.low)]
    if not rows or view.validity.get("verdict", "valid") != "valid":
        return ""
    sure = [row for row in rows if row.low > 0.5 and row.p_adjusted <= 1 - row.level]
    named = f"{words(rows[0].attack)} attack"
    if not sure:
        return (
            f"None of {len(rows)} groups is told apart beyond chance, allowing for their number "
            f"({named})."
        )
    worst = max(sure, key=lambda row: row.value)
    others = {name: group_at(view, name, worst.dataset) for name in own_controls(view, model)}
    there = {
        name: row for name, row in others.items() if row is not None and not math.isnan(row.low)
    }
    controls = "; ".join(f"{view.called(name)}: {interval(row)}" for name, row in there.items())
    reached = any(row.high >= worst.low for row in there.values())
    beside = (
        (", not clearly above a control there" if reached else ", above every control there")
        if there
        else ""
    )
    return (
        f"Told apart best of {len(rows)} groups: {worst.dataset}, AUC {interval(worst)} ({named}, "
        f"n = {worst.n}, p = {worst.p_adjusted:.2g} after correction for the number of "
        f"groups){beside}"
        + (f" ({controls})." if controls else "; no control model shows the cause.")
    )


def group_rows(view: RunView, model: str) -> list[Result]:
    """A model's AUC within every group."""
    return [row for row in view.results if row.metric == "slice_auc" and row.model == model]


def group_at(view: RunView, model: str, group: str) -> Result | None:
    """A model's AUC within one group."""
    return next((row for row in group_rows(view, model) if row.dataset == group), None)
