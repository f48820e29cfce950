"""The report of a mosaic run: a page, its figures, and its points as CSV."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stillage.mosaic.table_columns import POINTS
from stillage.report import csv_text, write_figures
from stillage.report.canvas import Picture, file_name
from stillage.report.cells import Table
from stillage.report.html import flatten, rendered, typeset
from stillage.report.mosaic_curves import exact_pictures, monitor_picture
from stillage.report.mosaic_figures import (
    PUBLISHED,
    PUBLISHED_RECITAL,
    drawing_of,
    experiment_pictures,
)
from stillage.report.mosaic_made import (
    canary_words,
    document_words,
    dose_words,
    flag_sentences,
    guide,
    injection_words,
    other_canaries_words,
    training_words,
)
from stillage.report.mosaic_reading import is_sound
from stillage.report.mosaic_tables import (
    exact_table,
    experiment_tables,
    perplexity_table,
    rejected_table,
)
from stillage.report.mosaic_view import MosaicView, Shown, read_mosaic_view
from stillage.report.mosaic_words import (
    attack_words,
    header_keys,
    level_percent,
    mosaic_detail,
    mosaic_headline,
    open_questions,
)
from stillage.report.wording import joined
from stillage.run.folder import write_text
from stillage.run.results import read_results, write_results

FOLDER = "report"
OF_CANARIES = "canaries of 100 tokens, for orientation"
MOST_TITLES = 6  # titles in a sentence; more are in a list


@dataclass(frozen=True, slots=True, kw_only=True)
class PageSection:
    """A section of the page, and the figures of it as files."""

    id: str
    title: str
    pictures: Sequence[Picture]
    caption: str
    tables: Sequence[Table]
    more: Sequence[Table] = ()  # folded away
    summary: str = ""
    note: str = ""


def write_mosaic_report(run: Path, title: str, run_id: str = "") -> None:
    """Write `<run>/report/` from the tables of a mosaic run.

    report.html (one file, no request), points.csv, summary.txt, figures/*.svg and *.csv, and
    results.parquet where `mosaic/results.parquet` is there. Equal inputs give equal bytes. No text
    of a canary is read. DataError: no points.
    """
    view = read_mosaic_view(run, title=title, run_id=run_id)
    parts, monitor = page_parts(view), monitor_picture(view)
    folder = run / FOLDER
    drawn = [picture for part in parts for picture in part.pictures]
    write_figures(folder, [*drawn, *([monitor] if monitor else [])])
    write_text(folder / "points.csv", points_csv(view))
    path = run / "mosaic" / "results.parquet"
    if path.is_file():
        rows = [replace(row, run=run_id or row.run) for row in read_results(path)]
        write_results(folder / "results.parquet", rows)
    lines = [f"{title}: {mosaic_headline(view)}.", *mosaic_detail(view)]
    write_text(folder / "summary.txt", "\n".join(lines) + "\n")
    write_text(folder / "report.html", mosaic_page(view, parts, monitor))


def points_csv(view: MosaicView) -> str:
    """All points as CSV; flags joined by semicolons."""
    rows = (
        tuple(";".join(row[name]) if name == "flags" else row[name] for name in POINTS)
        for row in view.points
    )
    return csv_text(tuple(POINTS), tuple(rows))


def page_parts(view: MosaicView) -> list[PageSection]:
    """Make the sections of the page: the exact curve, then each experiment."""
    table = exact_table(view)
    curve = PageSection(
        id="exact",
        title="How well exact copies can be told",
        pictures=exact_pictures(view),
        caption=f"Band: {level_percent(view)} intervals. Moving average and isotonic curve are "
        "what near-copies are read off.",
        tables=[table] if table else [],
    )
    shown = [one for one in view.experiments if not is_curve_alone(view, one)]
    return [curve, *(experiment_part(view, one) for one in shown)]


def is_curve_alone(view: MosaicView, one: Shown) -> bool:
    """Whether an experiment is the exact curve alone, which has its section."""
    curve = view.curve(view.attack)
    return one.shows == "auc" and view.of(one.name, view.attack) == curve


def experiment_part(view: MosaicView, one: Shown) -> PageSection:
    """Make the section of an experiment."""
    tables, pictures = experiment_tables(view, one), experiment_pictures(view, one)
    others = ", ".join(attack_words(name) for name in view.attacks[1:])
    folded = f"The same under the {others}" if others else ""
    return PageSection(
        id=f"experiment-{file_name(one.name)}",
        title=one.title,
        pictures=pictures,
        caption=figure_caption(view, one) if pictures else "",
        tables=tables[:1],
        more=tables[1:],
        summary="Point by point" if one.shows == "distance" else folded,
        note=joined(dose_words(view, one), one.note),
    )


def figure_caption(view: MosaicView, one: Shown) -> str:
    """Say what the figure of an experiment shows."""
    if one.shows == "distance":
        return (
            f"What a near-copy is worth against its mean distance to the canary, "
            f"{attack_words(view.attack)}; a mark a point, bars: {level_percent(view)} intervals."
            f"{beyond_words(drawing_of(view, one, 'rho').beyond)}"
        )
    if one.shows == "recital":
        hollow = f" Hollow: {PUBLISHED_RECITAL}, {OF_CANARIES}." if one.published else ""
        return f"Bars: {level_percent(view)} intervals.{hollow}"
    hollow = f" Hollow: {PUBLISHED}, {of_published(one)}." if one.published else ""
    if one.shows == "auc":
        return f"Bars: {level_percent(view)} intervals."
    drawing = drawing_of(view, one, "rho")
    said = (
        f"{attack_words(view.attack).capitalize()}; bars: {level_percent(view)} intervals. "
        f"1: worth an exact copy; 0: worth nothing.{hollow}"
    )
    if not all(is_sound(row) for line in drawing.lines.values() for row, _ in line):
        said += (
            " Faint: says nothing, as its exact curve cannot be told from a level one, or falls "
            "where it is read."
        )
    return said + beyond_words(drawing.beyond)


def of_published(one: Shown) -> str:
    """Say of which canaries and doses published values are."""
    return OF_CANARIES if one.name == "scanned" else f"10 copies, {OF_CANARIES}"


def beyond_words(count: int) -> str:
    """Say how many points of a figure it cuts; empty for none."""
    if not count:
        return ""
    reach = "reaches" if count == 1 else "reach"
    return f" {count} of the points {reach} beyond the figure; see the table."


def mosaic_page(view: MosaicView, parts: Sequence[PageSection], monitor: Picture | None) -> str:
    """Write the page as one HTML document: no script, no request, style by hash."""
    from markupsafe import Markup

    def drawn(picture: Picture) -> Markup:
        return Markup(picture.svg)

    made = [document_words(view, MOST_TITLES), canary_words(view), *other_canaries_words(view)]
    made += [injection_words(view), training_words(view)]
    tables = [perplexity_table(view.canaries), rejected_table(view.canaries)]
    filled = {
        "title": view.title,
        "run_id": view.run_id,
        "headline": typeset(mosaic_headline(view)),
        "detail": [typeset(line) for line in mosaic_detail(view)],
        "keys": header_keys(view),
        "parts": [shown_part(part, list(map(drawn, part.pictures))) for part in parts],
        "unknowns": [typeset(line) for line in open_questions(view)],
        "made": [typeset(line) for line in made if line],
        "monitor": drawn(monitor) if monitor else "",
        "monitor_caption": f"Membership AUC of the canaries during training, "
        f"{attack_words(view.attack)}. Named: exact copies; faint: every other training.",
        "made_tables": [table for table in tables if table is not None],
        "hosts": view.hosts if len(view.hosts) > MOST_TITLES else [],
        "facts": [(key, value) for key, value in mosaic_facts(view) if value],
        "files": "All numbers of this page, and more, are in points.csv beside it; each figure "
        "is a file in figures/, with its numbers as CSV.",
        "guide": guide(view),
        "flags": flag_sentences(view),
    }
    return rendered("mosaic.html.j2", filled)


def shown_part(part: PageSection, figures: Sequence[str]) -> Mapping[str, object]:
    """A section as the template takes it."""
    return {
        "id": part.id,
        "title": typeset(part.title),
        "figures": figures,
        "caption": typeset(part.caption),
        "tables": part.tables,
        "more": part.more,
        "summary": part.summary,
        "note": typeset(part.note),
    }


def mosaic_facts(view: MosaicView) -> list[tuple[str, str]]:
    """The settings of the run and of the canaries."""
    return list(flatten({"run": view.about, "canaries": view.canaries.made}))
