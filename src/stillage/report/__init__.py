"""The report of a run: a page, its figures, all results in one table, a few lines."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.report.private import Disclosure
from stillage.report.run_view import RunView, read_run
from stillage.report.section import Section
from stillage.run.config import ReportConfig

if TYPE_CHECKING:
    from stillage.report.canvas import Picture

__all__ = ["RunView", "read_run", "write_report"]


def write_report(
    run: Path,
    options: ReportConfig,
    *,
    title: str,
    run_id: str = "",
    sections: Sequence[Section] = (),
) -> Path:
    """Write `<run>/report/`, and return the page's path.

    report.html, figures/*.svg and *.csv, results.parquet, summary.txt. run_id: written into the
    `run` column of results.parquet, under the run's key where settings are hidden. sections: of the
    measures that bring one. Reads only files of the run folder, any of which may be absent. Unless
    options.show_text, nothing written there tells of private text without `<run>/report.key`, which
    is made where it is missing; equal inputs and an equal key give equal bytes. DataError where
    there is nothing to report.
    """
    from stillage.report.block_tables import block_pictures
    from stillage.report.discreet import discreet
    from stillage.report.figures import pictures
    from stillage.report.html import page
    from stillage.report.summary import summary_lines
    from stillage.report.verdict import verdict
    from stillage.run.folder import write_text
    from stillage.run.results import write_results

    whole = read_run(run, [section.name for section in sections])
    if options.show_text:
        view = replace(whole, sight=Disclosure(shows_all=True))
    else:
        view, title = discreet(whole, title)
    is_hidden = view.config != whole.config  # the run's id is a hash of settings not all shown

    def named(run: str) -> str:
        return view.sight.keyed("run", run, 12) if run and is_hidden else run

    judged = verdict(view)
    drawn = pictures(view) | {picture.name: picture for picture in block_pictures(view)}
    folder = run / "report"
    write_figures(folder, drawn.values())
    rows = [replace(row, run=named(run_id or row.run)) for row in view.results]
    write_results(folder / "results.parquet", rows)
    lines = summary_lines(view, judged, title=title)
    write_text(folder / "summary.txt", "\n".join(lines) + "\n")
    html = page(view, judged, drawn, options, title=title, sections=sections)
    write_text(folder / "report.html", html)
    return folder / "report.html"


def write_figures(folder: Path, drawn: Iterable[Picture]) -> None:
    """Write figures/ anew: each figure as SVG, and the numbers behind it as CSV."""
    from stillage.report.svg import standalone
    from stillage.run.folder import remove, write_text

    remove(folder / "figures")
    for picture in drawn:
        path = folder / "figures" / picture.name
        write_text(path.with_name(f"{picture.name}.svg"), standalone(picture.svg))
        write_text(path.with_name(f"{picture.name}.csv"), csv_text(picture.columns, picture.rows))


def csv_text(columns: tuple[str, ...], rows: tuple[tuple[str | float | int, ...], ...]) -> str:
    """Write rows as CSV, floats with the digits that give them back exactly."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return buffer.getvalue()
