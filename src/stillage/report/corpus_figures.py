"""Figures of near-duplicates by distance, for each bucket and each rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.near_counts import ordered_buckets
from stillage.report.canvas import LOOKS, SPARE, Picture, canvas, file_name, render, settings
from stillage.report.corpus_view import BEFORE, IN_CORPUS, CorpusView
from stillage.report.corpus_words import EDITS, NAMES, amount, in_short, occurring, ranged, speaking

if TYPE_CHECKING:
    from matplotlib.axes import Axes

STYLES = (
    *(LOOKS[name] for name in ("student", "teacher", "student_no_teacher")),
    *(LOOKS[name] for name in ("student_counterfactual", "teacher_counterfactual")),
    SPARE,
    LOOKS["student_minimal"],  # the first one's colour on a dark page
)
NARROW = 1000  # times the floor: below, 2 and 5 are written too
COLUMNS = ("rule", "reading", "bucket", "distance", "mean", "low", "high")


def corpus_pictures(view: CorpusView) -> list[Picture]:
    """Draw the buckets under each metric, and the rules under the first."""
    from matplotlib import rc_context

    with rc_context(settings("corpus")):
        drawn = [buckets_picture(view, metric) for metric in view.metrics if view.most]
        if len(view.rests) > 1 and view.most:
            drawn.append(rules_picture(view, view.metrics[0]))
    return drawn


def buckets_picture(view: CorpusView, metric: str) -> Picture:
    """Draw the mean number of near-duplicates within each distance, a line a bucket."""
    lines = {
        in_short(bucket): view.counts(view.before, metric, bucket)[1:]
        for bucket in ordered_buckets(view.buckets)
    }
    title = f"Near-duplicates by {NAMES[metric]} distance"
    rows = [row_of(BEFORE, "", row) for line in lines.values() for row in line]
    return drawn(lines, f"near_{file_name(metric)}", title, axis_words(metric), rows)


def rules_picture(view: CorpusView, metric: str) -> Picture:
    """Draw what each rule leaves in the corpus, of the headline's bucket."""
    bucket = speaking(view).bucket
    lines, rows = dict[str, Sequence[Mapping[str, Any]]](), list[tuple[str | float | int, ...]]()
    for rest in view.rests:
        line = view.counts(rest, metric, bucket)[1:]
        if rest.reading in ("", IN_CORPUS):
            lines[rest.rule if rest.reading else "before any rule"] = line
        rows += [row_of(rest.rule, rest.reading, row) for row in line]
    title = f"What deduplication leaves {IN_CORPUS} of {occurring(bucket)}"
    return drawn(lines, "rules", title, axis_words(metric), rows)


def axis_words(metric: str) -> str:
    """Label the axis of distances."""
    return f"{NAMES[metric]} distance at most ({EDITS[metric]})"


def row_of(rule: str, reading: str, row: Mapping[str, Any]) -> tuple[str | float | int, ...]:
    """A row behind a figure."""
    return (rule, reading, *(row[name] for name in COLUMNS[2:]))


def drawn(
    lines: Mapping[str, Sequence[Mapping[str, Any]]],
    name: str,
    title: str,
    label: str,
    rows: Sequence[tuple[str | float | int, ...]],
) -> Picture:
    """Draw lines with bands on a logarithmic axis; 0 lies on its floor."""
    figure, axes = canvas(430, 330)
    floor = lowest(lines)
    for at, (words, line) in enumerate(lines.items()):
        colour, style, marker = STYLES[at % len(STYLES)]
        x = np.array([row["distance"] for row in line])
        y, low, high = (
            np.array([row[key] for row in line], dtype=float) for key in ("mean", "low", "high")
        )
        if not np.isnan(low).all():
            band = (np.maximum(low, floor), np.maximum(high, floor))
            axes.fill_between(x, *band, color=colour, alpha=0.14, linewidth=0)
        axes.plot(
            x,
            np.maximum(y, floor),
            color=colour,
            linestyle=style,
            marker=marker,
            markersize=4,
            markevery=max(1, len(x) // 8),
            label=words,
        )
    axes.set_yscale("log")
    axes.set(xlabel=label, ylabel="near-duplicates, mean of a target")
    axes.margins(x=0.01)
    whole_numbers(axes, floor)
    axes.grid(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.3)
    said = "; ".join(f"{words}: {ranged(line[-1])} at the largest" for words, line in lines.items())
    svg = render(figure, name=name, title=title, description=f"{said}.")
    return Picture(name=name, svg=svg, columns=COLUMNS, rows=tuple(rows))


def lowest(lines: Mapping[str, Sequence[Mapping[str, Any]]]) -> float:
    """The floor of the axis, where 0 is drawn: a power of ten below the rest."""
    seen = [row["mean"] for line in lines.values() for row in line if row["mean"] > 0]
    return 10.0 ** (math.ceil(math.log10(min(seen))) - 1) if seen else 0.1


def whole_numbers(axes: Axes, floor: float) -> None:
    """Write 1,000 on the axis, not a power of ten, and 0 on its floor."""
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    def words(value: float, _place: int) -> str:
        return amount(value) if value > 1.001 * floor else "0"

    axes.set_ylim(bottom=floor)
    if axes.get_ylim()[1] < NARROW * floor:
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(words))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
