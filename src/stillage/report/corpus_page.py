"""The report of a scan: a page, its figures, and its numbers as Parquet and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from stillage.report import csv_text, write_figures
from stillage.report.canvas import Picture
from stillage.report.corpus_figures import corpus_pictures
from stillage.report.corpus_tables import distances_table, rules_note, rules_tables, targets_table
from stillage.report.corpus_view import IN_CORPUS, CorpusView, by_target, rests_table
from stillage.report.corpus_words import (
    NAMES,
    buckets_said,
    coverage,
    detail,
    exact_copies,
    headline,
    labelled,
    occurring,
    own_words,
    ranged,
    speaking,
    unjudged,
    unknowns,
)
from stillage.report.html import flatten, rendered, typeset
from stillage.report.key_numbers import KeyNumber
from stillage.run.folder import write_table, write_text

if TYPE_CHECKING:
    import pyarrow as pa

PAGE, FOLDER = "report.html", "report"
MOST_KEYS = 5


def write_corpus_report(view: CorpusView) -> list[str]:
    """Write the page and its tables into the scan's folder; the lines of its summary.

    report.html; report/near_counts, report/by_target (.parquet, .csv), report/figures/. Texts of
    targets stand on the page alone, and only those of view.texts. Equal inputs give equal bytes.
    """
    folder, drawn = view.scan.folder, corpus_pictures(view)
    write_figures(folder / FOLDER, drawn)
    rows = by_target(view)
    for name, table in (("near_counts", rests_table(view)), ("by_target", rows)):
        write_table(folder / FOLDER / f"{name}.parquet", table)
        write_text(folder / FOLDER / f"{name}.csv", csv_of(table))
    write_text(folder / PAGE, corpus_page(view, drawn, rows))
    said = [headline(view) + ".", detail(view), coverage(view), own_words(view), unjudged(view)]
    return list(filter(None, said))


def csv_of(table: pa.Table) -> str:
    """A flat table as CSV."""
    columns = tuple(table.column_names)
    return csv_text(columns, tuple(tuple(row.values()) for row in table.to_pylist()))


def corpus_page(view: CorpusView, drawn: Sequence[Picture], rows: pa.Table) -> str:
    """Write the page as one HTML document: no script, no request, style by hash."""
    from markupsafe import Markup

    figures = {picture.name: Markup(picture.svg) for picture in drawn}
    has_limits = any(row["low"] >= 0 for row in view.before.counts)
    band = "Too few for intervals."
    if has_limits:
        band = f"Bands: {100 * view.level:g} % intervals, where there is enough for one."
    own = "each was applied to all documents"
    metrics = [
        {
            "figure": figures.get(f"near_{metric}", ""),
            "caption": f"Near-duplicates of a target within each {NAMES[metric]} distance; exact "
            f"copies are not among them. {band}",
            "table": distances_table(view, metric),
        }
        for metric in view.metrics
    ]
    parts = {
        "title": view.title,
        "headline": typeset(headline(view)),
        "detail": typeset(detail(view)),
        "coverage": typeset(coverage(view)),
        "own": typeset(own_words(view)),
        "unjudged": typeset(unjudged(view)),
        "keys": corpus_keys(view),
        "metrics": metrics,
        "rules": rules_tables(view),
        "rules_note": rules_note(view),
        "rules_figure": figures.get("rules", ""),
        "rules_caption": f"Near-duplicates of {occurring(speaking(view).bucket)} that are left "
        f"{IN_CORPUS}, before any rule and after {own}, "
        f"by {NAMES[view.metrics[0]]} distance. {band}",
        "rule_words": {rest.rule: rest.words for rest in view.rests[1:]},
        "targets": targets_table(view, rows),
        "unknowns": [typeset(line) for line in unknowns(view)],
        "facts": scan_facts(view),
        "length": view.length,
        "level": f"{100 * view.level:g} %",
        "show_text": bool(view.texts),
    }
    return rendered("corpus.html.j2", parts)


def corpus_keys(view: CorpusView) -> list[KeyNumber]:
    """The numbers of the header, a bucket each: the most frequent ones."""
    keys = []
    for one in buckets_said(view, view.before)[-MOST_KEYS:]:
        value, _, rest = ranged(one.near).partition(" [")
        noun = "near-duplicate" if value == "1" and not rest else "near-duplicates"
        keys.append(
            KeyNumber(
                label=labelled(one.bucket),
                value=value,
                small=f"[{rest}" if rest else "",
                note=f"{noun}; {exact_copies(one)}",
            )
        )
    return keys


def scan_facts(view: CorpusView) -> list[tuple[str, str]]:
    """What decided the scan, and how much was read."""
    plan, manifest = view.scan.plan, view.scan.manifest
    groups: dict[str, Any] = {
        "scan": {"hash": plan.hash, **plan.decides["settings"]},
        "targets": plan.targets,
        "corpus": {
            "shards": len(plan.shards),
            "vocab_size": plan.vocab_size,
            "tokenizer": plan.tokenizer,
            **manifest["of"],
        },
        "scanned": manifest["scanned"],
        "found": manifest["found"],
    }
    return [(key, value) for key, value in flatten(groups) if value]
