"""The tables of `stillage compare`: quality, leakage, every pair's difference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from stillage.report.cells import Cell, Table, auc_cell, number, table_of, thousands
from stillage.report.wording import CHANCE, words
from stillage.types import Result

SHOWN_PAIRS = 30  # the surest ones; `--out` keeps all
QUALITY = {"rouge_l": "ROUGE-L", "exact_match": "exact match", "needed_exact": "needed part exact"}
"""Numbers per record -> how a heading names them."""


def variants_table(
    results: Sequence[Result], seeds: Mapping[str, Sequence[int]], doubtful: Collection[str] = ()
) -> Table:
    """Tabulate quality against leakage, a row per variant.

    The one that leaks least (or answers best) first. seeds: name of a variant -> its runs'.
    doubtful: variants of which a run is not valid, whose AUC is not shaded. A column that no
    variant has a number for is left out.
    """
    by = {(row.method, row.metric): row for row in results}
    aucs = [row for row in results if row.metric == "auc"]
    measured = {row.metric for row in results}
    shown = {**QUALITY, "validation_loss": "validation loss"}
    metrics = [
        metric for metric in shown if metric in measured or metric in ("rouge_l", "validation_loss")
    ]
    rows = []
    for name in ordered(results, seeds):
        auc, tokens = by.get((name, "auc")), by.get((name, "trained_tokens"))
        shade = number if name in doubtful else auc_cell
        leak = (
            {
                "records": str(auc.n) if auc else "–",
                f"AUC, {words(aucs[0].attack)}": shade(auc, 3),
            }
            if aucs
            else {}
        )
        rows.append(
            {
                words(results[0].model) if results else "model": name,
                "seeds": ", ".join(map(str, seeds[name])),
                **leak,
                **{shown[metric]: number(by.get((name, metric)), 3) for metric in metrics},
                "trained tokens": thousands(tokens.value if tokens else None),
            }
        )
    table = table_of("Quality against leakage" if aucs else "Quality", rows, heads=2)
    assert table is not None, "nothing is compared without a variant"
    return table


def ordered(results: Sequence[Result], names: Mapping[str, object]) -> list[str]:
    """Order the variants: who leaks least first, or answers best where nobody audited."""
    auc = {row.method: row.value for row in results if row.metric == "auc"}
    quality = {row.method: row.value for row in results if row.metric == "rouge_l"}
    return sorted(names, key=lambda name: (auc.get(name, 2.0), -quality.get(name, -1.0)))


def pairs_table(results: Sequence[Result], level: float) -> Table:
    """Tabulate every pair's difference of AUC, the surest first, and what follows."""
    aucs = {row.method: row for row in results if row.metric == "auc"}

    def says(row: Result, other: str) -> str:
        more = aucs[row.method if row.value > 0 else other]
        above = does_more(results, more) if more.low > CHANCE else "is higher, but not above chance"
        return f"{more.method} {above}"

    test = "paired DeLong, near-duplicates counted once, seeds pooled"
    heads = ("Who leaks more", "difference of AUC")
    return difference_rows(results, "auc", heads, test, level, says)


def does_more(results: Sequence[Result], auc: Result) -> str:
    """Say "leaks more" only of a variant that stands above all its controls."""
    beyond = [
        row for row in results if row.metric == "auc_beyond_control" and row.method == auc.method
    ]
    is_beyond = beyond and all(row.low > 0 for row in beyond)
    return "leaks more" if is_beyond else "tells members apart better"


def quality_tables(results: Sequence[Result], level: float) -> list[Table]:
    """Tabulate every pair's difference of each number per record: who answers better."""

    def says(row: Result, other: str) -> str:
        return f"{row.method if row.value > 0 else other} is better"

    test = "paired t, near-duplicates counted once, seeds pooled"
    return [
        difference_rows(
            results,
            metric,
            (f"Who answers better: {name}", f"difference of {name}"),
            test,
            level,
            says,
        )
        for metric, name in QUALITY.items()
        if any(row.metric == f"{metric}_difference" for row in results)
    ]


def difference_rows(
    results: Sequence[Result],
    metric: str,
    heads: tuple[str, str],
    test: str,
    level: float,
    says: Callable[[Result, str], str],
) -> Table:
    """Tabulate every pair's difference of a metric.

    heads: caption and first column; says: what follows from a sure one.
    """
    pairs = [row for row in results if row.metric == f"{metric}_difference"]
    pairs.sort(key=lambda row: (row.p_adjusted, -abs(row.value)))
    rows = []
    for row in pairs[:SHOWN_PAIRS]:
        so = says(row, row.against) if beats_luck(row, level) else "no difference shown"
        p = (Cell(text=f"{value:.2g}") for value in (row.p, row.p_adjusted))
        rows.append(
            (Cell(text=f"{row.method}  minus  {row.against}"), number(row, 3), *p, Cell(text=so))
        )
    left = len(pairs) - len(rows)
    note = (
        f"Differences on the same records ({test}), {100 * level:g} %"
        f" intervals; Holm over {len(pairs)} pair{'s' if len(pairs) > 1 else ''}."
        + (f" {left} more pairs, none of them surer: --out FOLDER keeps all." if left else "")
    )
    columns = (heads[1], "value", "p", "Holm", "so")
    return Table(caption=heads[0], columns=columns, rows=tuple(rows), note=note)


def beats_luck(row: Result, level: float) -> bool:
    """Tell whether a difference is more than luck, over all pairs."""
    return row.p_adjusted <= 1 - level
