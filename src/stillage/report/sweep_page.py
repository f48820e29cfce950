"""The page of a sweep: verdict, quality against leakage, tests, its points."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from stillage.errors import DataError
from stillage.report.canvas import SPARE, Picture, arms, canvas, render, settings
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
from stillage.report.svg import INK, PALETTE
from stillage.report.wording import CHANCE, interval, words
from stillage.run.results import write_results
from stillage.types import Result

MARKERS = "osD^vPX*"
MOST_NAMED = 12  # variants of a legend


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepPoint:
    """One point of a sweep.

    state: "finished", "not finished", or the first line of its error.
    """

    name: str
    values: Mapping[str, str]
    is_finished: bool
    state: str

    @property
    def link(self) -> str:
        """Its page, from the sweep's."""
        return f"../{quote(self.name)}/report/report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepView:
    """What the page of a sweep shows."""

    title: str
    points: Sequence[SweepPoint]
    seeds: Mapping[str, Sequence[int]]  # of each variant
    results: Sequence[Result]
    level: float
    said: Sequence[str]
    doubtful: Sequence[str] = ()  # variants of which a point did not pass the audit's checks


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One sentence of the verdict.

    what: "leakage of the student"; claim: what the tests bear; numbers: of both ends.
    """

    what: str
    claim: str
    numbers: str


def report_sweep(out: Path, points: Sequence[SweepPoint]) -> list[str]:
    """Write <out>/report/ of a sweep; returns the lines of its summary.

    Points that cannot be compared are listed nevertheless.
    """
    trouble: list[str] = []
    try:
        found = side_by_side([out], is_strict=False)
    except DataError as error:
        found, trouble = None, [f"the points are not compared: {error.what}"]
    view = SweepView(
        title=out.resolve().name,
        points=points,
        seeds=found.seeds if found else {},
        results=found.results if found else (),
        level=found.level if found else 0.95,
        doubtful=found.doubtful if found else (),
        said=[*trouble, *(found.said if found else ())],
    )
    lines = write_sweep_report(out / "report", view)
    if found:
        write_results(out / "report" / "compare.parquet", found.results)
    return lines


def write_sweep_report(folder: Path, view: SweepView) -> list[str]:
    """Write report.html, summary.txt and the figure; returns the summary.

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
    finished = sum(point.is_finished for point in view.points)
    return [
        f"{view.title}: {finished} of {len(view.points)} points finished",
        *sweep_verdict(view),
        *(f"failed: {point.name}: {point.state}" for point in view.points if failed(point)),
        *view.said,
    ]


def failed(point: SweepPoint) -> bool:
    """Tell whether an error ended a point."""
    return not point.is_finished and point.state != "not finished"


def sweep_verdict(view: SweepView) -> list[str]:
    """Write a line on leakage and one on quality, where they were measured."""
    found = outcomes(view)
    return [f"{one.what}: {one.claim}: {one.numbers}" for one in found] or [
        "no point has numbers to compare"
    ]


def outcomes(view: SweepView) -> list[Outcome]:
    """What follows for leakage and for quality."""
    found = []
    aucs = [row for row in view.results if row.metric == "auc"]
    if aucs:
        found.append(outcome(view, aucs, "leakage", "AUC", ""))
    for metric, name in best_quality(view).items():
        rows = [row for row in view.results if row.metric == metric]
        found.append(outcome(view, rows, "quality", name, "answers better"))
    return found


def best_quality(view: SweepView) -> dict[str, str]:
    """Choose the number that speaks for quality.

    The needed part where there is one, else ROUGE-L, else exact match.
    """
    measured = {row.metric for row in view.results}
    found = [metric for metric in ("needed_exact", "rouge_l", "exact_match") if metric in measured]
    return {metric: QUALITY[metric] for metric in found[:1]}


def outcome(view: SweepView, rows: Sequence[Result], kind: str, name: str, verb: str) -> Outcome:
    """Test the highest variant against the lowest, over all pairs.

    verb: what the highest does; empty: what its controls allow to be said of its AUC.
    """
    what, metric = f"{kind} of the {words(rows[0].model)}", rows[0].metric
    ranked = sorted((row for row in rows if not math.isnan(row.value)), key=lambda row: row.value)
    if len(ranked) < 2:
        shown = f"{name} {interval(ranked[0])}" if ranked else f"{name} has no value"
        return Outcome(
            what=what,
            claim=f"one variant, {ranked[0].method}" if ranked else "unknown",
            numbers=shown,
        )
    low, high = ranked[0], ranked[-1]
    both = f"{name} {interval(high)} of {high.method}, {interval(low)} of {low.method}"
    test = next(
        (
            row
            for row in view.results
            if row.metric == f"{metric}_difference"
            and {row.method, row.against} == {low.method, high.method}
        ),
        None,
    )
    if test is None:
        return Outcome(what=what, claim=f"differences in {kind} could not be tested", numbers=both)
    numbers = f"{both} (difference {abs(test.value):.3f}, Holm p {test.p_adjusted:.2g})"
    if not beats_luck(test, view.level):
        return Outcome(what=what, claim=f"no difference in {kind} shown", numbers=numbers)
    if metric == "auc" and high.low <= CHANCE:
        return Outcome(
            what=what, claim=f"{high.method} is highest, but not above chance", numbers=numbers
        )
    return Outcome(
        what=what,
        claim=f"{high.method} {verb or does_more(view.results, high)} than {low.method}",
        numbers=numbers,
    )


def sweep_tradeoff(view: SweepView) -> Picture | None:
    """Draw quality against AUC of every variant; without an audit, quality alone."""
    from matplotlib import rc_context

    by = {(row.method, row.metric): row for row in view.results}
    for metric, label in best_quality(view).items():
        names = [name for name in ordered(view.results, view.seeds) if (name, metric) in by]
        leaks = {name: by[name, "auc"] for name in names if (name, "auc") in by}
        with rc_context(settings("sweep")):
            return draw(names, {name: by[name, metric] for name in names}, leaks, label)
    return None


def draw(
    names: Sequence[str], quality: Mapping[str, Result], leaks: Mapping[str, Result], label: str
) -> Picture:
    """The figure and the numbers behind it; `leaks` empty: one row a variant."""
    names = [name for name in names if not leaks or name in leaks]
    figure, axes = canvas(460, 310 if leaks else 90 + 24 * len(names))
    colours = [*PALETTE, SPARE[0]]
    for place, name in enumerate(names):
        looks = {
            "color": colours[place % len(PALETTE)],
            "marker": MARKERS[place % len(MARKERS)],
            "markersize": 7,
            "linewidth": 1.2,
            "linestyle": "none",
            "label": name,
        }
        if leaks:
            axes.errorbar(
                leaks[name].value,
                quality[name].value,
                xerr=arms(leaks[name]),
                yerr=arms(quality[name]),
                **looks,
            )
        else:
            axes.errorbar(
                quality[name].value, len(names) - place, xerr=arms(quality[name]), **looks
            )
    if leaks:
        axes.axvline(CHANCE, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
        axes.text(
            CHANCE, 0.02, " chance", transform=axes.get_xaxis_transform(), fontsize=9, ha="left"
        )
        axes.set(xlabel="leakage: AUC", ylabel=label)
        if len(names) <= MOST_NAMED:
            axes.legend(
                loc="lower left",
                bbox_to_anchor=(0, 1.0),
                ncols=1 if max(map(len, names)) > 28 else 2,
            )
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
    rows = [
        (name, *numbers(quality[name]), *(numbers(leaks[name]) if leaks else ())) for name in names
    ]
    columns = (
        "variant",
        label,
        f"{label} low",
        f"{label} high",
        *(("AUC", "AUC low", "AUC high") if leaks else ()),
    )
    return Picture(
        name="quality_leakage" if leaks else "quality", svg=svg, columns=columns, rows=tuple(rows)
    )


def numbers(row: Result) -> tuple[float, float, float]:
    """A number and its interval."""
    return row.value, row.low, row.high


def page_of_sweep(view: SweepView, picture: Picture | None) -> str:
    """The whole page as one HTML document: no script, no request, style by hash only."""
    from markupsafe import Markup

    head, *rest = summary(view)
    found = sweep_tables(view)
    parts = {
        "title": view.title,
        "claims": "; ".join(one.claim for one in outcomes(view)),
        "head": head.removeprefix(f"{view.title}: "),
        "lines": [typeset(line) for line in rest],
        "figure": Markup(picture.svg) if picture else "",
        "caption": caption(view, picture),
        "first": found[0] if found else None,
        "tests": found[1:],
        "points": view.points,
        "settings": swept_settings(view),
    }
    return rendered("sweep.html.j2", parts)


def caption(view: SweepView, picture: Picture | None) -> str:
    """What the figure shows."""
    crosses = f"each variant with its {100 * view.level:g} % intervals"
    if picture is None or picture.name == "quality":
        return f"Quality, {crosses}."
    return (
        f"Quality (up is better) against membership AUC (right leaks more), {crosses}; 0.5 is "
        "chance."
    )


def sweep_tables(view: SweepView) -> list[Table]:
    """Tabulate every variant's numbers, then the paired tests."""
    if not view.results:
        return []
    tests = [pairs_table(view.results, view.level), *quality_tables(view.results, view.level)]
    return [
        variants_table(view.results, view.seeds, view.doubtful),
        *(table for table in tests if table.rows),
    ]


def swept_settings(view: SweepView) -> list[str]:
    """The settings that the points differ in."""
    return list(dict.fromkeys(path for point in view.points for path in point.values))
