"""Figures of the experiments of a mosaic run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.report.canvas import Picture, arms, canvas, file_name, render, settings
from stillage.report.corpus_figures import STYLES
from stillage.report.mosaic_axis import Axis, Place, axis_of, shown
from stillage.report.mosaic_reading import is_sound
from stillage.report.mosaic_tables import pairs, rho_correlation
from stillage.report.mosaic_view import DISTANCES, MosaicView, Row, Shown
from stillage.report.mosaic_words import (
    at_place,
)
from stillage.report.svg import INK
from stillage.report.wording import interval
from stillage.types import Array, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIZES = ((430, 330), (340, 280))
"""Width and height of a figure alone, and of one in a row of two."""
OWN = "this run"  # the line of an experiment with one series
MOST_NAMED = 12  # lines of a legend
WORTH = (-0.25, 1.5)  # no axis of rho goes beyond; a useless interval would flatten all others
COLUMNS = ("series", "x", "label")
PUBLISHED = "published (GPT-Neo 1.3B, ratio attack)"
PUBLISHED_RECITAL = "published (GPT-Neo, 10 copies)"
OTHER_MARKERS = ("d", "v", "s", "p", "h", "^")
"""Of published series that the run does not have, one after the other."""
METRICS = {
    "rho": "worth of a near-copy, in exact copies (rho)",
    "auc": "membership AUC",
    "bleu": "BLEU of the continuation",
    "edit_similarity": "edit similarity of the continuation",
}
"""Column of points -> the label of its axis."""
METRICS_OF = {"recital": ("bleu", "edit_similarity"), "auc": ("auc",)}
"""What an experiment shows -> its figures; of others rho."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedValue:
    """A published value, its series as this run calls it."""

    series: str
    place: Place
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What a figure of an experiment is drawn from."""

    lines: Mapping[str, Sequence[tuple[Row, Result]]]  # by series, points with a value
    axis: Axis
    metric: str
    published: tuple[PublishedValue, ...] = ()

    @property
    def limits(self) -> tuple[float, float]:
        """Ends of the axis of values: all and their intervals, as far as is useful."""
        told = [n for line in self.lines.values() for _, row in line for n in value_limits(row)]
        told += [one.value for one in self.published]
        if self.metric == "rho":
            low, high = min([*told, 0.0]), max([*told, 1.0])
            low, high = max(low, WORTH[0]), min(high, WORTH[1])
        else:
            low, high = min(told, default=0.0), max(told, default=1.0)
        room = 0.04 * (high - low) or 0.02
        return low - room, high + room

    def turned(
        self, places: Sequence[float], values: Sequence[float]
    ) -> dict[str, Sequence[float]]:
        """Places and values as x and y."""
        first, second = (values, places) if self.axis.is_list else (places, values)
        return {"x": first, "y": second}

    @property
    def beyond(self) -> int:
        """Points of which the value or a limit lies outside the figure."""
        low, high = self.limits
        rows = [row for line in self.lines.values() for _, row in line]
        return sum(
            min(value_limits(row)) < low or max(value_limits(row)) > high or is_endless(row)
            for row in rows
        )


def value_limits(row: Result) -> list[float]:
    """A value with those of its limits that it has."""
    return [number for number in (row.value, row.low, row.high) if not math.isnan(number)]


def is_endless(row: Result) -> bool:
    """Whether an interval has a lower limit alone."""
    return not math.isnan(row.low) and math.isnan(row.high)


def bars(rows: Sequence[Result]) -> Array:
    """Lengths of error bars [2, rows]; one without end leaves any figure."""
    ended = [replace(row, high=row.value + 10) if is_endless(row) else row for row in rows]
    return np.hstack([arms(row) for row in ended])


def drawing_of(view: MosaicView, one: Shown, metric: str) -> Drawing:
    """Gather an experiment's points with a value under the headline's attack."""
    rows, lines = list[Row](), dict[str, list[tuple[Row, Result]]]()
    for row in view.of(one.name, view.attack):
        if not math.isnan(row[metric]):
            lines.setdefault(row["series"], []).append((row, view.result(row, metric)))
            rows.append(row)
    published = published_of(one, rows) if metric in ("rho", "bleu") else ()
    places = [*((row["x"], row["label"]) for row in rows), *(told.place for told in published)]
    return Drawing(lines=lines, axis=axis_of(places), metric=metric, published=published)


def published_of(one: Shown, rows: Sequence[Row]) -> tuple[PublishedValue, ...]:
    """Find the place of each published value: that of our point of its series and x.

    Where labels name places and no point is there, one of its own, named by series and x. On an
    axis of numbers, series that the run lacks are left out where it has others of those published.
    """
    ours = {(row["series"], row["x"]): row["label"] for row in rows}
    theirs = [series for series, _, _ in one.published]
    series_of_ours = {row["series"] for row in rows}
    is_one = len(series_of_ours) == len(set(theirs)) == 1
    is_shared = not any(ours.values()) and not series_of_ours.isdisjoint(theirs)
    has_labels, found = any(ours.values()), list[PublishedValue]()
    for named, x, value in one.published:
        if is_shared and named not in series_of_ours:
            continue  # a line of its own would only hide those that can be compared
        series = rows[0]["series"] if is_one else named
        words = f"{named} {x:g}".strip() if theirs.count(named) > 1 or x or not named else named
        label = ours.get((series, x), words if has_labels else "")
        found.append(PublishedValue(series=series, place=(x, label), value=value))
    return tuple(found)


def experiment_pictures(view: MosaicView, one: Shown) -> list[Picture]:
    """Draw an experiment; nothing where it has no number."""
    from matplotlib import rc_context

    with rc_context(settings(f"mosaic-{one.name}")):
        if one.shows == "distance":
            made = [distance_picture(view, one, column) for column in DISTANCES]
            return [picture for picture in made if picture is not None]
        drawings = [drawing_of(view, one, name) for name in METRICS_OF.get(one.shows, ("rho",))]
        size = SIZES[len(drawings) > 1]
        return [lines_picture(one, drawing, size) for drawing in drawings if drawing.lines]


def lines_picture(one: Shown, drawing: Drawing, size: tuple[int, int]) -> Picture:
    """Draw a line a series with its intervals, and what was published as faint marks."""
    width, height = size
    if drawing.axis.is_list:
        height = 80 + len(drawing.axis.names) * (16 + 7 * min(7, len(drawing.lines)))
    figure, axes = canvas(width, height)
    for at, (series, line) in enumerate(drawing.lines.items()):
        draw_line(axes, drawing, line, at, shown(series) or OWN)
    mark_published(axes, drawing)
    finish_axes(axes, drawing, one.axis)
    if len(drawing.lines) + bool(drawing.published) <= MOST_NAMED:
        legend(axes, whole_width=drawing.axis.is_list)
    said = "; ".join(
        f"{series or OWN}, {at_place(row)}: {interval(value)}"
        for series, line in drawing.lines.items()
        for row, value in line
    )
    name = f"{file_name(one.name)}_{drawing.metric}"
    svg = render(figure, name=name, title=shown(one.title), description=f"{said}.")
    ends = (drawing.metric, f"{drawing.metric}_low", f"{drawing.metric}_high")
    rows = tuple(
        (series, row["x"], row["label"], value.value, value.low, value.high)
        for series, line in drawing.lines.items()
        for row, value in line
    )
    return Picture(name=name, svg=svg, columns=(*COLUMNS, *ends), rows=rows)


def finish_axes(axes: Axes, drawing: Drawing, words: str) -> None:
    """Label the axes; mark what is worth nothing, and what is worth an exact copy."""
    drawing.axis.label(axes, words)
    line: dict[str, Any] = {"color": INK, "linewidth": 0.9, "linestyle": (0, (2, 2)), "zorder": 0}
    marked = (0, 1) if drawing.metric == "rho" else ()
    if drawing.axis.is_list:
        axes.set(xlabel=METRICS[drawing.metric], xlim=drawing.limits)
        for value in marked:
            axes.axvline(value, **line)
    else:
        axes.set(ylabel=METRICS[drawing.metric], ylim=drawing.limits)
        for value in marked:
            axes.axhline(value, **line)
    axes.grid(True)


def styles(at: int) -> tuple[str, str | tuple, str]:
    """Colour, line style and marker of a series by its number."""
    return STYLES[at % len(STYLES)]


def draw_line(
    axes: Axes, drawing: Drawing, line: Sequence[tuple[Row, Result]], at: int, label: str
) -> None:
    """Draw a series with its intervals; points that cannot be judged are faint."""
    colour, style, marker = styles(at)
    axis, lines = drawing.axis, len(drawing.lines)
    look: dict[str, Any] = {"color": colour, "marker": marker, "markersize": 5, "elinewidth": 1.1}
    for is_clear in (True, False):
        own = [(row, value) for row, value in line if is_sound(row) == is_clear]
        if not own:
            continue
        places = [axis.place(row["x"], row["label"], at, lines) for row, _ in own]
        told = drawing.turned(places, [value.value for _, value in own])
        reach = bars([value for _, value in own])
        axes.errorbar(
            told["x"],
            told["y"],
            xerr=reach if axis.is_list else None,
            yerr=None if axis.is_list else reach,
            linestyle=style if is_clear and not axis.names else "none",
            linewidth=1.6,
            alpha=1 if is_clear else 0.35,
            label=label,
            **look,
        )
        label = "_"  # one entry in the legend


def mark_published(axes: Axes, drawing: Drawing) -> None:
    """Mark published values, hollow and faint, in the colour of their series."""
    own = list(drawing.lines)
    label = PUBLISHED if drawing.metric == "rho" else PUBLISHED_RECITAL
    found = dict.fromkeys(told.series for told in drawing.published)
    strange = [] if drawing.axis.names else [series for series in found if series not in own]
    for series in found:
        is_ours = series in own
        colour, _, marker = styles(own.index(series)) if is_ours else (INK, "-", "d")
        if series in strange:
            marker = OTHER_MARKERS[strange.index(series) % len(OTHER_MARKERS)]
        at = own.index(series) if is_ours else (len(own) - 1) / 2
        named = f"published: {shown(series)}" if len(strange) > 1 else label
        points = [told for told in drawing.published if told.series == series]
        places = [drawing.axis.place(*told.place, at, len(own)) for told in points]
        turned = drawing.turned(places, [told.value for told in points])
        axes.plot(
            turned["x"],
            turned["y"],
            color=colour,
            linestyle="none",
            marker=marker,
            markersize=7.5,
            markerfacecolor="none",
            alpha=0.55,
            label=named,
        )
        label = "_"  # one entry in the legend


def legend(axes: Axes, *, ncols: int = 2, whole_width: bool = False) -> None:
    """Name the lines above the axes, or above the whole figure."""
    handles, names = axes.get_legend_handles_labels()
    last = [name.startswith("published") or name == "chance" for name in names]
    order = sorted(range(len(names)), key=last.__getitem__)  # what was measured comes first
    wide = any(len(name) > 40 for name in names) or (len(names) == 2 and max(map(len, names)) > 36)
    handles, names = [handles[at] for at in order], [names[at] for at in order]
    look: dict[str, Any] = {"ncols": 1 if wide else ncols, "handlelength": 2.4}
    if whole_width:
        axes.figure.legend(handles, names, loc="outside upper left", **look)
    else:
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1.0), "borderaxespad": 0.3}
        axes.legend(handles, names, **place, **look)


def distance_picture(view: MosaicView, one: Shown, column: str) -> Picture | None:
    """Draw what near-copies are worth against one distance; None without points."""
    found = pairs(view, one, column)
    if not found:
        return None
    figure, axes = canvas(*SIZES[1])
    series = list(dict.fromkeys(row["series"] for row, _, _ in found))
    limits = Drawing(
        lines={"": [(row, view.result(row, "rho")) for row, _, _ in found]},
        axis=Axis(),
        metric="rho",
    ).limits
    for at, name in enumerate(series):
        own = [(x, view.result(row, "rho")) for row, x, _ in found if row["series"] == name]
        colour, _, marker = STYLES[at % len(STYLES)]
        axes.errorbar(
            [x for x, _ in own],
            [row.value for _, row in own],
            yerr=bars([row for _, row in own]),
            color=colour,
            marker=marker,
            markersize=4.5,
            linestyle="none",
            elinewidth=0.7,
            label=shown(name) or OWN,
        )
    axes.set(xlabel=DISTANCES[column], ylabel="rho", ylim=limits)
    axes.grid(True)
    if 1 < len(series) <= MOST_NAMED:
        legend(axes)
    ranked = rho_correlation(view, one, column)
    name, title = f"{file_name(one.name)}_{column}", f"Rho by distance: {DISTANCES[column]}"
    said = f"Spearman's correlation {interval(ranked)}, {len(found)} points."
    svg = render(figure, name=name, title=title, description=said)
    rows = tuple((row["series"], x, row["label"], rho) for row, x, rho in found)
    return Picture(name=name, svg=svg, columns=("series", column, "label", "rho"), rows=rows)
