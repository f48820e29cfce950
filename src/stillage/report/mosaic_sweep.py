"""The page of mosaic runs of several seeds: means with intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from stillage.errors import DataError
from stillage.report import csv_text
from stillage.report.cells import Cell, Table, table_of
from stillage.report.html import rendered, typeset
from stillage.report.mosaic_axis import axis_number
from stillage.report.mosaic_means import markdown, mean_table, seeds_interval
from stillage.report.mosaic_view import Shown, read_mosaic_view
from stillage.report.mosaic_words import attack_words
from stillage.run.folder import write_table, write_text

if TYPE_CHECKING:
    import pyarrow as pa

POINTS = "mosaic/points.parquet"
SHOWN = {
    "auc": "AUC",
    "rho": "rho, as published",
    "rho_isotonic": "rho, isotonic",
    "bleu": "BLEU",
    "edit_similarity": "edit similarity",
}


def is_mosaic_run(run: Path) -> bool:
    """Tell whether a finished run is one of mosaic memory."""
    return (run / POINTS).is_file()


def report_mosaic_sweep(out: Path, finished: Sequence[str], failed: Mapping[str, str]) -> list[str]:
    """Write <out>/report/ of a sweep over seeds; return the lines of its summary.

    report.html, means.parquet, means.csv, means.md. finished: names of points with a report;
    failed: name -> state of the others. Points that are no seeds of one experiment are listed and
    not averaged.
    """
    title, runs = out.resolve().name, [out / name for name in finished]
    try:
        means = mean_table(runs)
    except DataError as error:
        means, said = None, [f"{title}: the points are not averaged: {error.what} {error.values}"]
    else:
        seeds = f"{len(runs)} seed{'s' * (len(runs) != 1)}"
        said = [f"{title}: means over {seeds}; brackets: 95 % intervals of the mean over seeds"]
    said += [f"not averaged: {name} ({state})" for name, state in failed.items()]
    folder = out / "report"
    parts = []
    if means is not None:
        shown = read_mosaic_view(runs[0], title=title).experiments
        parts = mean_parts(means, {one.name: one.title for one in shown})
        write_table(folder / "means.parquet", means)
        write_text(folder / "means.csv", means_csv(means))
        write_text(folder / "means.md", markdown_of(means, shown))
    write_text(folder / "summary.txt", "\n".join(said) + "\n")
    write_text(folder / "report.html", sweep_html(title, said, parts, finished))
    return said


def mean_parts(means: pa.Table, titles: Mapping[str, str]) -> list[Mapping[str, object]]:
    """Make a section for each experiment; attacks but the first are folded away."""
    attacks = list(dict.fromkeys(means["attack"].to_pylist()))
    parts = []
    for name, title in titles.items():
        tables = [mean_cells(means, name, attack) for attack in attacks]
        kept = [table for table in tables if table is not None]
        part = {"id": f"experiment-{name}", "title": typeset(title), "figures": [], "note": ""}
        parts.append(
            {**part, "caption": "", "tables": kept[:1], "more": kept[1:], "summary": "More attacks"}
        )
    return parts


def mean_cells(means: pa.Table, experiment: str, attack: str) -> Table | None:
    """Lay out the means of an experiment under an attack, a row a point."""
    rows = [
        row
        for row in means.to_pylist()
        if (row["experiment"], row["attack"]) == (experiment, attack)
    ]
    shown = {
        name: words
        for name, words in SHOWN.items()
        if any(not math.isnan(row[name]) for row in rows)
    }
    cells = [
        {
            "series": row["series"] or "-",
            "at": row["label"] or axis_number(row["x"]),
            **{words: Cell(text=seeds_interval(row, name)) for name, words in shown.items()},
            "seeds": f"{row['seeds']}",
            "flagged": f"{row['flagged']}",
        }
        for row in rows
    ]
    return table_of(attack_words(attack).capitalize(), cells, heads=2)


def means_csv(means: pa.Table) -> str:
    """All means as CSV."""
    names = means.column_names
    return csv_text(
        tuple(names), tuple(tuple(row[name] for name in names) for row in means.to_pylist())
    )


def markdown_of(means: pa.Table, experiments: Sequence[Shown]) -> str:
    """All means as Markdown, a table for each experiment and attack.

    The published values stand beside them.
    """
    attacks = list(dict.fromkeys(means["attack"].to_pylist()))
    written = []
    for one in experiments:
        published = {(series, x): value for series, x, value in one.published}
        for attack in attacks:
            table = markdown(means, experiment=one.name, attack=attack, published=published)
            if table:
                words = attack_words(attack).capitalize()
                written.append(f"## {one.title}\n\n{words}:\n\n{table}")
    return "\n".join(written)


def sweep_html(
    title: str, said: Sequence[str], parts: Sequence[Mapping[str, Any]], finished: Sequence[str]
) -> str:
    """Write the page as one HTML document."""
    from markupsafe import Markup

    links = [
        Markup('<a href="../{}/report/report.html">{}</a>').format(quote(name), name)
        for name in finished
    ]
    made = [Markup("Pages of the seeds: {}.").format(Markup(", ").join(links))] if links else []
    filled = {
        "title": title,
        "run_id": "",
        "headline": typeset(said[0]),
        "detail": [typeset(line) for line in said[1:]],
        "keys": [],
        "parts": parts,
        "unknowns": ["What a mean hides: look at the flags of each seed's own page."],
        "made": made,
        "monitor": "",
        "monitor_caption": "",
        "made_tables": [],
        "hosts": [],
        "facts": [],
        "files": "All numbers of this page, and more, are in means.csv beside it.",
        "guide": [],
        "flags": [],
    }
    return rendered("mosaic.html.j2", filled)
