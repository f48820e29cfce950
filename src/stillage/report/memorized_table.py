"""What shadow pipelines say about memorization, of teachers and students."""

from __future__ import annotations

import math

from stillage.report.cells import Table, level_words, number, table_of
from stillage.report.run_view import RunView, order_models
from stillage.report.wording import words

UNITS = {"token_accuracy": "share of tokens", "log_probability": "nats per token"}


def memorized_table(view: RunView) -> Table | None:
    """Tabulate counterfactual memorization per kind of model and measure.

    And how the student's ranking follows the teacher's.
    """
    rows, means = [], view.rows("counterfactual_memorization")
    models = order_models({row.model for row in means})
    for found in sorted(means, key=lambda row: (models.index(row.model), row.unit)):
        model, unit = found.model, found.unit
        ranks = view.rows("counterfactual_spearman", model=model, unit=unit)
        lost = (row.value for row in view.rows("nan_scores", model=model, unit=unit))
        rows.append(
            {
                "trained as": view.called(model),
                "measure": f"{words(unit)}, {UNITS.get(unit, unit)}",
                "mean gain": number(found, 3),
                "rank correlation with the teacher": number(next(iter(ranks), None)),
                "n": str(found.n),
                "without value": str(sum(int(count) for count in lost if not math.isnan(count))),
            }
        )
    counted = "; ".join(f"{n} shadow pipelines" for n in sorted({row.shadows for row in means}))
    note = (
        "How much better a record is known by pipelines that met it than by pipelines that did "
        f"not: mean over members and nonmembers alike, interval over models ({counted}). Every "
        f"record: audit/counterfactual.parquet. {level_words(view)}."
    )
    return table_of("Counterfactual memorization", rows, note, heads=2)
