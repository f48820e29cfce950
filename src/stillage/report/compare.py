"""The tables of `stillage compare`: quality against leakage, and every pair's difference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from stillage.report.cells import Cell, Table, number, thousands
from stillage.report.load import number_in
from stillage.report.verdict import CHANCE, words
from stillage.types import Result

SHOWN_PAIRS = 30  # the surest ones; `--out` keeps all


def variants_table(results: Sequence[Result], seeds: Mapping[str, Sequence[int]]) -> Table:
    """Quality against leakage, a row per variant, the one that leaks least first; seeds: name of a variant -> its runs'."""
    first = next(row for row in results if row.metric == "auc")
    by = {(row.method, row.metric): row for row in results}
    rows = []
    for name in sorted(seeds, key=lambda name: by[name, "auc"].value):
        tokens = by.get((name, "trained_tokens"))
        cells = [number(by.get((name, metric)), 3) for metric in ("auc", "rouge_l", "validation_loss")]
        trained = Cell(text=thousands(tokens.value if tokens else None))
        given = ", ".join(map(str, seeds[name]))
        rows.append((Cell(text=name), Cell(text=given), Cell(text=str(by[name, "auc"].n)), *cells, trained))
    columns = (
        words(first.model), "seeds", "records", f"AUC, {words(first.attack)}", "ROUGE-L", "validation loss", "trained tokens"
    )  # fmt: skip
    return Table(caption="Quality against leakage", columns=columns, rows=tuple(rows), heads=2)


def pairs_table(results: Sequence[Result], level: float) -> Table:
    """Every pair's difference of AUC, the surest first, and what follows."""
    aucs = {row.method: row for row in results if row.metric == "auc"}
    pairs = [row for row in results if row.metric == "auc_difference"]
    pairs.sort(key=lambda row: (holm_p(row), -abs(row.value)))
    rows = []
    for row in pairs[:SHOWN_PAIRS]:
        other = row.note.partition("minus ")[2].partition(";")[0]
        more = aucs[row.method if row.value > 0 else other]
        leaks = f"{more.method} leaks more" if more.low > CHANCE else f"{more.method} is higher, but not above chance"
        says = leaks if holm_p(row) <= 1 - level else "no difference shown"
        p = (Cell(text=f"{value:.2g}") for value in (number_in(row.note, "p"), holm_p(row)))
        rows.append((Cell(text=f"{row.method}  minus  {other}"), number(row, 3), *p, Cell(text=says)))
    left = len(pairs) - len(rows)
    note = (
        f"Differences on the same records (paired DeLong, near-duplicates counted once, seeds pooled), {100 * level:g} %"
        f" intervals; Holm over {len(pairs)} pair{'s' if len(pairs) > 1 else ''}."
        + (f" {left} more pairs, none of them surer: --out FOLDER keeps all." if left else "")
    )
    columns = ("difference of AUC", "value", "p", "Holm", "so")
    return Table(caption="Who leaks more", columns=columns, rows=tuple(rows), note=note)


def holm_p(row: Result) -> float:
    """The adjusted p of a difference."""
    return number_in(row.note, "holm p")
