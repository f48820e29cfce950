"""The group of records that is told apart best, in a sentence."""

from __future__ import annotations

import math

from stillage.report.claims import own_controls, subject
from stillage.report.run_view import RunView
from stillage.report.wording import interval, words


def group_words(view: RunView) -> str:
    """Say which group is told apart best, and what the controls reach there.

    Empty where nobody asked for groups, or the split is not valid.
    """
    model = subject(view)
    rows = [row for row in view.rows("slice_auc", model=model) if not math.isnan(row.low)]
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
    beside = {
        name: row
        for name in own_controls(view, model)
        for row in view.rows("slice_auc", model=name, dataset=worst.dataset)[:1]
        if not math.isnan(row.low)
    }
    controls = "; ".join(f"{view.called(name)}: {interval(row)}" for name, row in beside.items())
    if not controls:
        place = "; no control model shows the cause."
    elif any(row.high >= worst.low for row in beside.values()):
        place = f", not clearly above a control there ({controls})."
    else:
        place = f", above every control there ({controls})."
    return (
        f"Told apart best of {len(rows)} groups: {worst.dataset}, AUC {interval(worst)} ({named}, "
        f"n = {worst.n}, p = {worst.p_adjusted:.2g} after correction for the number of "
        f"groups){place}"
    )
