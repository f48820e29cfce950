"""The tables of the teacher divergence, and of the bound on epsilon."""

from __future__ import annotations

import math

from stillage.report.cells import Cell, Table, bracketed, level_words, model_head
from stillage.report.run_view import RunView
from stillage.report.wording import interval, words
from stillage.types import Result

PARTS = {"public": "public (the student’s)", "private": "members", "nonmembers": "nonmembers"}


def divergence_table(view: RunView) -> Table | None:
    """Tabulate the KL of teacher and student from their counterfactual twins.

    By kind of record, with the correlation of both.
    """
    rows = []
    for model in ("teacher", "student"):
        for part, label in PARTS.items():
            mean = pick(view, "signal_kl", model, part)
            if mean is not None:
                quantiles = [
                    pick(view, "signal_kl_quantile", model, part, q) for q in (0.5, 0.9, 0.99)
                ]
                both = (
                    pick(view, "signal_spearman", "student", part) if model == "student" else None
                )
                cells = (
                    bracketed(interval(row, 3)) if row else Cell(text="–")
                    for row in (mean, *quantiles)
                )
                last = (
                    bracketed(interval(both))
                    if both and not math.isnan(both.value)
                    else Cell(text="–")
                )
                rows.append(
                    (
                        model_head(view, model),
                        Cell(text=label),
                        *cells,
                        last,
                        Cell(text=str(mean.n)),
                    )
                )
    if not rows:
        return None
    note = (
        "KL divergence of the next-token distributions from the same model trained without the "
        "members, nats per token, mean of each record. On the student’s own records it is all that "
        "can carry the leak. Rank correlation: of the teacher’s"
        f" and the student’s KL over these records. {level_words(view)}." + shown_words(view)
    )
    columns = ("model", "records", "mean KL", "median", "90 %", "99 %", "rank correlation", "n")
    return Table(
        caption="What the signal says about the members",
        columns=columns,
        rows=tuple(rows),
        heads=2,
        note=note,
    )


def pick(
    view: RunView, metric: str, model: str, part: str, q: float = math.nan, attack: str = ""
) -> Result | None:
    """Pick the one row of that metric, model, part, quantile and attack."""
    rows = (
        row for row in view.results if (row.metric, row.model, row.dataset) == (metric, model, part)
    )
    return next(
        (row for row in rows if row.attack == attack and (math.isnan(q) or row.quantile == q)),
        None,
    )


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
    """The lower bound on epsilon of each model, and the guesses it rests on."""
    rows = []
    for model in view.models:
        bound = next(
            (r for r in view.results if r.metric == "dp_epsilon_low" and r.model == model), None
        )
        right = next((r for r in view.results if r.metric == "dp_right" and r.model == model), None)
        if bound is not None and right is not None:
            low, n = Cell(text=f"{bound.value:.2f}"), Cell(text=str(bound.n))
            rows.append((model_head(view, model), low, bracketed(interval(right)), n))
    found = next((row for row in view.results if row.metric == "dp_epsilon_low"), None)
    if found is None:
        return None
    fixed = f"fixed in advance: {found.n_members} in, {found.n_nonmembers} out"
    note = (
        f"Each record was a member by the toss of a coin ({found.coins} coins); guesses by the"
        f" {words(found.attack)} attack, {fixed}; delta={found.delta:g}."
        f" With {100 * found.level:g} % confidence no training private with a smaller epsilon makes"
        " so many guesses right; 0: nothing found, which proves no privacy. Steinke, Nasr and"
        " Jagielski 2023."
    )
    columns = ("model", "epsilon is at least", "guesses right", "guesses")
    return Table(
        caption="Differential privacy, bounded from below",
        columns=columns,
        rows=tuple(rows),
        note=note,
    )
