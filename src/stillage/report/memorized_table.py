"""What shadow pipelines say about memorization, of teachers and students."""

from __future__ import annotations

import math

from stillage.report.cells import Cell, Table, level_words, model_head, number
from stillage.report.run_view import RunView, order_models
from stillage.report.wording import words

UNITS = {"token_accuracy": "share of tokens", "log_probability": "nats per token"}


def memorized_table(view: RunView) -> Table | None:
    """Tabulate counterfactual memorization per kind of model and measure.

    And how the student's ranking follows the teacher's.
    """
    rows = []
    means = [row for row in view.results if row.metric == "counterfactual_memorization"]
    for found in sorted(
        means,
        key=lambda row: (order_models({one.model for one in means}).index(row.model), row.unit),
    ):
        lost = [
            row
            for row in view.results
            if row.metric == "nan_scores" and (row.model, row.unit) == (found.model, found.unit)
        ]
        rank = next(
            (
                row
                for row in view.results
                if row.metric == "counterfactual_spearman"
                and (row.model, row.unit) == (found.model, found.unit)
            ),
            None,
        )
        missing = sum(int(row.value) for row in lost if not math.isnan(row.value))
        rows.append(
            (
                model_head(view, found.model),
                Cell(text=f"{words(found.unit)}, {UNITS.get(found.unit, found.unit)}"),
                number(found, 3),
                number(rank),
                Cell(text=str(found.n)),
                Cell(text=str(missing)),
            )
        )
    if not rows:
        return None
    counted = "; ".join(f"{n} shadow pipelines" for n in sorted({row.shadows for row in means}))
    note = (
        "How much better a record is known by pipelines that met it than by pipelines that did "
        f"not: mean over members and nonmembers alike, interval over models ({counted}). Every "
        f"record: audit/counterfactual.parquet. {level_words(view)}."
    )
    columns = (
        "trained as",
        "measure",
        "mean gain",
        "rank correlation with the teacher",
        "n",
        "without value",
    )
    return Table(
        caption="Counterfactual memorization", columns=columns, rows=tuple(rows), heads=2, note=note
    )
