"""Attacks that were chosen and could not be run, with the reason."""

from __future__ import annotations

from stillage.report.cells import Table, table_of
from stillage.report.run_view import RunView, order_models
from stillage.report.wording import words


def attacks_left_out(view: RunView) -> dict[tuple[str, str], tuple[str, ...]]:
    """Group the attacks that were not run: (attack, reason) -> models."""
    found: dict[tuple[str, str], set[str]] = {}
    for row in view.rows("left_out"):
        found.setdefault((row.attack, row.reason), set()).add(row.model)
    return {entry: order_models(models) for entry, models in found.items()}


def left_out_table(view: RunView) -> Table | None:
    """Tabulate every attack and reason; None when nothing was left out."""
    rows = [
        {"attack": words(attack), "models": ", ".join(map(view.called, models)), "why": why}
        for (attack, why), models in attacks_left_out(view).items()
    ]
    note = (
        "These attacks were asked for and have no number here; nothing follows from that about the "
        "models."
    )
    return table_of("Attacks that were left out", rows, note, heads=3)


def left_out_line(view: RunView) -> str:
    """Name the attacks that were left out on some model; empty when none."""
    names = dict.fromkeys(words(attack) for attack, _ in attacks_left_out(view))
    return f"left out (reasons in the report): {', '.join(names)}" if names else ""
