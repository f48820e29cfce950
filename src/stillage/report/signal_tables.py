"""The tables of the teacher divergence, and of the bound on epsilon."""

from __future__ import annotations

import math
from dataclasses import replace

from stillage.report.cells import DASH, Cell, Table, bracketed, level_words, number, table_of
from stillage.report.run_view import RunView
from stillage.report.wording import interval, words
from stillage.types import Result

PARTS = {"public": "public (the student’s)", "private": "members", "nonmembers": "nonmembers"}
QUANTILES = {"median": 0.5, "90 %": 0.9, "99 %": 0.99}


def divergence_table(view: RunView) -> Table | None:
    """Tabulate the KL of teacher and student from their counterfactual twins.

    By kind of record, with the rank correlation of both in the student's rows.
    """
    rows, reasons = [], dict[str, None]()
    for model in ("teacher", "student"):
        for part, label in PARTS.items():
            mean = pick(view, "signal_kl", model, part)
            if mean is None:
                continue
            quantiles = {
                heading: pick(view, "signal_kl_quantile", model, part, quantile=quantile)
                for heading, quantile in QUANTILES.items()
            }
            reasons |= {row.reason: None for row in quantiles.values() if row and row.reason}
            both = pick(view, "signal_spearman", model, part, attack="")
            rows.append(
                {
                    "model": view.called(model),
                    "records": label,
                    "mean KL": number(mean, 3),
                    **{heading: quantile_cell(row) for heading, row in quantiles.items()},
                    "rank correlation": number(both) if model == "student" else DASH,
                    "n": str(mean.n),
                }
            )
    note = (
        "KL divergence of the next-token distributions from the same model trained without the "
        "members, nats per token, mean of each record. On the student’s own records it is all that "
        "can carry the leak. Rank correlation: of the teacher’s"
        f" and the student’s KL over these records. {level_words(view)}." + shown_words(view)
    )
    note += f" No interval: {'; '.join(reasons)}." if reasons else ""
    return table_of("What the signal says about the members", rows, note, heads=2)


def quantile_cell(row: Result | None) -> Cell:
    """Show a quantile; why it has no interval is long, and stands below the table."""
    return number(replace(row, reason="no interval") if row and row.reason else row, 3)


def pick(view: RunView, metric: str, model: str, part: str, **columns: object) -> Result | None:
    """Pick the one result on a part of the records, with values in other columns."""
    return next(iter(view.rows(metric, model=model, dataset=part, **columns)), None)


def shown_words(view: RunView) -> str:
    """Say whether the teacher's KL and the student's score correlate."""
    row = pick(view, "signal_spearman", "student", "private", attack=view.primary_attack)
    if row is None or math.isnan(row.value):
        return ""
    attack = words(view.primary_attack)
    return (
        f" Among members, the teacher’s KL and the student’s {attack} score correlate at "
        f"{interval(row)}."
    )


def dp_table(view: RunView) -> Table | None:
    """Tabulate the lower bound on epsilon of each model, and the guesses it rests on."""
    rows, bounds = [], view.rows("dp_epsilon_low")
    for model in view.models:
        bound, right = (view.result(name, model) for name in ("dp_epsilon_low", "dp_right"))
        if bound is not None and right is not None:
            rows.append(
                {
                    "model": view.called(model),
                    "epsilon is at least": f"{bound.value:.2f}",
                    "guesses right": bracketed(interval(right)),
                    "guesses": str(bound.n),
                }
            )
    if not bounds:
        return None
    found = bounds[0]
    fixed = f"fixed in advance: {found.n_members} in, {found.n_nonmembers} out"
    note = (
        f"Each record was a member by the toss of a coin ({found.coins} coins); guesses by the"
        f" {words(found.attack)} attack, {fixed}; delta={found.delta:g}."
        f" With {100 * found.level:g} % confidence no training private with a smaller epsilon makes"
        " so many guesses right; 0: nothing found, which proves no privacy. Steinke, Nasr and"
        " Jagielski 2023."
    )
    return table_of("Differential privacy, bounded from below", rows, note)
