"""The tables of a scan's report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stillage.corpus.near_counts import ordered_buckets
from stillage.report.cells import Cell, Table, bracketed, table_of
from stillage.report.corpus_view import CorpusView
from stillage.report.corpus_words import NAMES, amount, buckets_said, in_short, ranged, speaking
from stillage.report.redact import clip

if TYPE_CHECKING:
    import pyarrow as pa

STEPS = 5  # distances shown besides 0
MOST_TARGETS = 20


def distances_table(view: CorpusView, metric: str) -> Table | None:
    """Tabulate mean near-duplicates within a few distances, a row a bucket."""
    steps = sorted({round(view.most * step / STEPS) for step in range(1, STEPS + 1)} - {0})
    rows = []
    for bucket in ordered_buckets(view.buckets):
        line = view.counts(view.before, metric, bucket)
        rows.append(
            {
                "targets": in_short(bucket),
                "n": f"{line[0]['targets']:,}",
                "exact copies": amount(line[0]["mean"]),
                **{f"≤ {step}": bracketed(ranged(line[step])) for step in steps},
            }
        )
    note = (
        "Exact copies of a target elsewhere, and near-duplicates (distance 1 and more) within each "
        f"distance; means over targets, for the whole corpus. {100 * view.level:g} % intervals of "
        "near-duplicates in brackets: documents and targets drawn again. Every distance: "
        "report/near_counts.csv."
    )
    return table_of(f"Within each {NAMES[metric]} distance", rows, note)


def rules_tables(view: CorpusView) -> list[Table]:
    """Tabulate what each rule leaves, a table a bucket, that of the headline first."""
    first = speaking(view).bucket
    others = [bucket for bucket in ordered_buckets(view.buckets) if bucket != first]
    made = [rules_table(view, bucket) for bucket in (first, *reversed(others))]
    return [table for table in made if table is not None]


def rules_table(view: CorpusView, bucket: str) -> Table | None:
    """Tabulate what each rule leaves of a bucket, under the first metric."""
    rows, had = [], view.apart(view.before, view.metrics[0], bucket)["found"]
    if not had or len(view.rests) == 1:
        return None
    for rest in view.rests:
        one = next(one for one in buckets_said(view, rest) if one.bucket == bucket)
        mean, low, high = one.worth
        rows.append(
            {
                "rule": rest.rule if rest.reading else "before any",
                "reading": rest.reading,
                "exact copies": amount(one.exact["mean"]),
                "near-duplicates": bracketed(ranged(one.near)),
                "of them left": f"{100 * one.near['found'] / had:.0f} %",
                "worth, in exact copies": Cell(
                    text=amount(mean), small=f"{amount(low)} to {amount(high)}"
                ),
            }
        )
    caption = f"{in_short(bucket)}: what each rule leaves"
    return table_of(caption[0].upper() + caption[1:], rows, heads=2)


def rules_note(view: CorpusView) -> str:
    """Say how the tables of rules were made."""
    return (
        f"Per target, within {NAMES[view.metrics[0]]} distance {view.most}; keep {view.keep}. "
        "“in the corpus”: the rule was applied to all documents, and what it leaves scanned again; "
        "a piece that was cut may be found again, farther away. “against the target”: a "
        "near-duplicate goes where it is a duplicate of the target itself. Worth: exact copies and "
        "near-duplicates together, the mean over models, and the least and most of them; a range, "
        "no interval."
    )


def targets_table(view: CorpusView, rows: pa.Table) -> Table | None:
    """List the targets whose copies are worth most, under the first metric."""
    metric = view.metrics[0]
    chosen = [row for row in rows.to_pylist() if row["metric"] == metric]
    chosen.sort(key=lambda row: (-row["worth"], row["target"]))
    shown = []
    for row in chosen[:MOST_TARGETS]:
        text = view.texts.get(row["target"])
        cells: dict[str, Cell | str] = {
            "target": str(row["target"]),
            "occurs": "–" if row["count"] is None else f"{row['count']:,}",
            "unique tokens": str(row["unique"]),
            "exact copies elsewhere": amount(row["exact"]),
            "near-duplicates": amount(row["near"]),
            "worth, in exact copies": Cell(
                text=amount(row["worth"]),
                small=f"{amount(row['worth_low'])} to {amount(row['worth_high'])}",
            ),
        }
        if view.texts:
            cells["text"] = Cell(text=clip(text or "", 160))
        shown.append(cells)
    note = (
        f"The {len(shown)} of {len(chosen):,} targets with most; all of them: "
        "report/by_target.parquet."
    )
    if not view.texts:
        note += " Texts are not shown: --tokenizer FILE --show-text shows them."
    return table_of("Target by target", shown, note)
