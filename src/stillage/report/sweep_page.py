"""The page of a sweep: verdict, quality against leakage, tests, its points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stillage.errors import DataError
from stillage.report.canvas import SPARE, Picture, arms, canvas, chance_line, render, settings
from stillage.report.cells import Table
from stillage.report.comparison_tables import (
    QUALITY,
    beats_luck,
    does_more,
    ordered,
    pairs_table,
    quality_tables,
    variants_table,
)
from stillage.report.html import rendered, typeset
from stillage.report.side_by_side import side_by_side
from stillage.report.svg import PALETTE
from stillage.report.wording import CHANCE, interval, words
from stillage.run.results import write_results
from stillage.types import Result

MARKERS = "osD^vPX*"
MOST_NAMED = 12  # variants of a legend


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One point of a sweep."""

    name: str
    values: Mapping[str, str]
    is_finished: bool
    state: str  # "finished", "not finished", or the first line of its error

    @property
    def link(self) -> str:
        """Its page, from the sweep's."""
        return f"../{quote(self.name)}/report/report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """All that the page of a sweep shows."""

    title: str
    points: Sequence[SweepPoint]
    seeds: Mapping[str, Sequence[int]]  # of each variant
    results: Sequence[Result]
    level: float
    said: Sequence[str]
    doubtful: Sequence[str] = ()  # variants of which a point did not pass the audit's checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One sentence of the verdict."""

    what: str  # "leakage of the student"
    claim: str  # what the tests bear
    numbers: str  # of both ends


def report_sweep(out: Path, points: Sequence[SweepPoint]) -> list[str]:
    """Write <out>/report/ of a sweep, and return the lines of its summary.

    Points that cannot be compared are listed nevertheless.
    """
    title = out.resolve().name
    try:
        found = side_by_side([out], is_strict=False)
    except DataError as error:
        said = [f"the points are not compared: {error.what}"]
        bare = SweepView(title=title, points=points, seeds={}, results=(), level=0.95, said=said)
        return write_sweep_report(out / "report", bare)
    view = SweepView(
        title=title,
        points=points,
        seeds=found.seeds,
        results=found.results,
        level=found.level,
        doubtful=found.doubtful,
        said=found.said,
    )
    lines = write_sweep_report(out / "report", view)
    write_results(out / "report" / "compare.parquet", found.results)
    return lines


def write_sweep_report(folder: Path, view: SweepView) -> list[str]:
    """Write report.html, summary.txt and the figure, and return the summary.

    Equal inputs give equal bytes. The page asks for nothing from outside; its links are relative.
    """
    from stillage.report import write_figures
    from stillage.run.folder import write_text

    lines, picture = summary(view), sweep_tradeoff(view)
    write_figures(folder, [picture] if picture else [])
    write_text(folder / "summary.txt", "\n".join(lines) + "\n")
    write_text(folder / "report.html", page_of_sweep(view, picture))
    return lines


def summary(view: SweepView) -> list[str]:
    """Write the verdict in a few lines: points, leakage, quality, warnings."""
    verdict = [f"{one.what}: {one.claim}: {one.numbers}" for one in outcomes(view)]
    return [
        f"{view.title}: {finished_words(view)}",
        *(verdict or ["no point has numbers to compare"]),
        *(f"failed: {point.name}: {point.state}" for point in view.points if failed(point)),
        *view.said,
    ]


def failed(point: SweepPoint) -> bool:
    """Tell whether an error ended a point."""
    return not point.is_finished and point.state != "not finished"


def finished_words(view: SweepView) -> str:
    """Count the finished points."""
    finished = sum(point.is_finished for point in view.points)
    return f"{finished} of {len(view.points)} points finished"


def outcomes(view: SweepView) -> list[Outcome]:
    """Say what follows for leakage and for quality, where they were measured."""
    asked = [("auc", "leakage", "AUC", "")]
    asked += [(metric, "quality", name, "answers better") for metric, name in best_quality(view)]
    rows = {metric: [row for row in view.results if row.metric == metric] for metric, *_ in asked}
    return [outcome(view, rows[metric], *told) for metric, *told in asked if rows[metric]]


def best_quality(view: SweepView) -> list[tuple[str, str]]:
    """Choose the number that speaks for quality, with its name; empty: none was.

    The needed part where it was measured, else ROUGE-L, else exact match.
    """
    measured = {row.metric for row in view.results}
    found = [metric for metric in ("needed_exact", "rouge_l", "exact_match") if metric in measured]
    return [(metric, QUALITY[metric]) for metric in found[:1]]


def outcome(view: SweepView, rows: Sequence[Result], kind: str, name: str, verb: str) -> Outcome:
    """Test the highest variant against the lowest, over all pairs.

    verb: what the highest does; empty: what its controls allow to be said of its AUC.
    """
    metric = rows[0].metric
    ranked = sorted((row for row in rows if not math.isnan(row.value)), key=lambda row: row.value)

    def said(claim: str, numbers: str) -> Outcome:
        return Outcome(what=f"{kind} of the {words(rows[0].model)}", claim=claim, numbers=numbers)

    if not ranked:
        return said("unknown", f"{name} has no value")
    low, high = ranked[0], ranked[-1]
    if len(ranked) < 2:
        return said(f"one variant, {low.method}", f"{name} {interval(low)}")
    both = f"{name} {interval(high)} of {high.method}, {interval(low)} of {low.method}"
    pair = {low.method, high.method}
    tests = (row for row in view.results if row.metric == f"{metric}_difference")
    test = next((row for row in tests if {row.method, row.against} == pair), None)
    if test is None:
        return said(f"differences in {kind} could not be tested", both)
    numbers = f"{both} (difference {abs(test.value):.3f}, Holm p {test.p_adjusted:.2g})"
    if not beats_luck(test, view.level):
        return said(f"no difference in {kind} shown", numbers)
    if metric == "auc" and high.low <= CHANCE:
        return said(f"{high.method} is highest, but not above chance", numbers)
    return said(f"{high.method} {verb or does_more(view.results, high)} than {low.method}", numbers)


def sweep_tradeoff(view: SweepView) -> Picture | None:
    """Draw quality against AUC of every variant; without an audit, quality alone."""
    from matplotlib import rc_context

    by = {(row.method, row.metric): row for row in view.results}
    for metric, label in best_quality(view):
        names = [name for name in ordered(view.results, view.seeds) if (name, metric) in by]
        leaks = {name: by[name, "auc"] for name in names if (name, "auc") in by}
        with rc_context(settings("sweep")):
            return draw(names, {name: by[name, metric] for name in names}, leaks, label)
    return None


def draw(
    names: Sequence[str], quality: Mapping[str, Result], leaks: Mapping[str, Result], label: str
) -> Picture:
    """Draw the figure, and keep its numbers; `leaks` empty: one row a variant."""
    names = [name for name in names if not leaks or name in leaks]
    figure, axes = canvas(460, 310 if leaks else 90 + 24 * len(names))
    colours = [*PALETTE, SPARE[0]]
    for place, name in enumerate(names):
        good, looks = quality[name], {"markersize": 7, "linewidth": 1.2, "linestyle": "none"}
        if leaks:
            leak = leaks[name]
            at = {"x": leak.value, "y": good.value, "xerr": arms(leak), "yerr": arms(good)}
        else:
            at = {"x": good.value, "y": len(names) - place, "xerr": arms(good)}
        colour, marker = colours[place % len(PALETTE)], MARKERS[place % len(MARKERS)]
        axes.errorbar(**at, color=colour, marker=marker, label=name, **looks)
    if leaks:
        chance_line(axes)
        axes.set(xlabel="leakage: AUC", ylabel=label)
        if len(names) <= MOST_NAMED:
            ncols = 1 if max(map(len, names)) > 28 else 2
            axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=ncols)
    else:
        axes.set_yticks([len(names) - place for place in range(len(names))], names)
        axes.set(xlabel=label, ylim=(0.4, len(names) + 0.6))
    axes.margins(x=0.12, y=0.18 if leaks else 0)
    axes.grid(True)
    said = "; ".join(
        f"{name}: {label} {interval(quality[name])}"
        + (f", AUC {interval(leaks[name])}" if leaks else "")
        for name in names
    )
    title = "Quality against leakage" if leaks else "Quality"
    svg = render(figure, name="sweep", title=title, description=f"{said}.")
    shown = {label: quality} | ({"AUC": leaks} if leaks else {})
    rows = tuple(
        (name, *(n for of in shown.values() for n in (of[name].value, of[name].low, of[name].high)))
        for name in names
    )
    columns = ("variant", *(f"{head}{end}" for head in shown for end in ("", " low", " high")))
    name = "quality_leakage" if leaks else "quality"
    return Picture(name=name, svg=svg, columns=columns, rows=rows)


def page_of_sweep(view: SweepView, picture: Picture | None) -> str:
    """Write the page as one HTML document: no script, no request, style by hash only."""
    from markupsafe import Markup

    found = sweep_tables(view)
    claims = "; ".join(one.claim for one in outcomes(view))
    if claims and len(view.seeds) == 1:
        claims = f"One variant, {next(iter(view.seeds))}: nothing to compare it with"
    parts = {
        "title": view.title,
        "claims": claims,
        "head": finished_words(view),
        "lines": [typeset(line) for line in summary(view)[1:]],
        "figure": Markup(picture.svg) if picture else "",
        "caption": caption(view, picture),
        "first": found[0] if found else None,
        "tests": found[1:],
        "points": view.points,
        "settings": swept_settings(view),
    }
    return rendered("sweep.html.j2", parts)


def caption(view: SweepView, picture: Picture | None) -> str:
    """Say what the figure shows."""
    what, end = "Quality", ""
    if picture is not None and picture.name == "quality_leakage":
        what = "Quality (up is better) against membership AUC (right leaks more)"
        end = "; 0.5 is chance"
    return f"{what}, each variant with its {100 * view.level:g} % intervals{end}."


def sweep_tables(view: SweepView) -> list[Table]:
    """Tabulate every variant's numbers, then the paired tests."""
    if not view.results:
        return []
    tests = [pairs_table(view.results, view.level), *quality_tables(view.results, view.level)]
    first = variants_table(view.results, view.seeds, view.doubtful)
    return [first, *(table for table in tests if table.rows)]


def swept_settings(view: SweepView) -> list[str]:
    """List the settings that the points differ in."""
    return list(dict.fromkeys(path for point in view.points for path in point.values))
