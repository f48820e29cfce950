"""The axis of an experiment: numbers, or names where its points have labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

from stillage.report.mosaic_view import place_order

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FAR, TIMES = 10, 1.9
"""A logarithmic axis spans FAR times its least place, in steps of TIMES or more."""
LINE = 62  # characters that fit below a figure
FITS, GAP = 46, 2  # characters that fit beside each other, and between two names
MOST_TICKS = 9  # places of a numeric axis that are all written
LONGEST, LISTED = 40, 30  # characters of a name, and of one beside a figure
ALONE = 0.2  # on both sides of an only place, where lines lie 0.015 apart
Place = tuple[float, str]  # x and label of a point


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Where points lie. Without names a place is its number.

    Names that do not fit beside each other are listed from the top down: is_list.
    """

    names: tuple[str, ...] = ()
    keys: tuple[Place, ...] = ()  # of each name
    places: tuple[float, ...] = ()  # all numbers of a numeric axis
    is_log: bool = False

    @property
    def is_list(self) -> bool:
        """Whether places lie below each other, and values go to the right."""
        return len(self.names) * (max(map(len, self.names), default=0) + GAP) > FITS

    def place(self, x: float, label: str, line: float, lines: int) -> float:
        """Where a point is drawn; the points of several lines lie beside each other.

        line: number of its line, from 0, of `lines`.
        """
        aside = line - (lines - 1) / 2
        if self.names:
            return self.keys.index((x, label)) + aside * min(0.2, 0.7 / max(1, lines))
        if self.is_log:
            return x * (max(self.places) / min(self.places)) ** (
                min(0.012, 0.1 / max(1, lines)) * aside
            )
        return x + self.step(lines) * aside

    def step(self, lines: int) -> float:
        """How far the points of neighbouring lines lie apart on an axis of numbers.

        At most so far that the lines of a place stay within a third of the nearest gap.
        """
        span = max(self.places, default=0.0) - min(self.places, default=0.0)
        gaps = [after - before for before, after in pairwise(self.places)]
        return min([0.015 * (span or 1.0), *(gap / 3 / max(1, lines) for gap in gaps)])

    def label(self, axes: Axes, words: str) -> None:
        """Write names or numbers, and what they are."""
        from matplotlib.ticker import NullFormatter, NullLocator

        count = len(self.names)
        if self.is_list:
            axes.set_yticks(range(count), [shown(name, LISTED) for name in self.names])
            axes.set_ylim(count - 0.4, -0.6)
            return
        axes.set_xlabel(shown(words, LINE))
        if self.names:
            axes.set_xticks(range(count), self.names)
            axes.set_xlim(-0.6, count - 0.4)
        if self.is_log:
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
        if len(self.places) == 1:  # several lines lie beside each other there
            axes.set_xlim(self.places[0] - ALONE, self.places[0] + ALONE)
        is_few = len(self.places) <= MOST_TICKS
        if self.places and (is_few if self.is_log else is_spaced(self.places)):
            axes.set_xticks(self.places, [f"{x:g}" for x in self.places])


def is_spaced(places: Sequence[float]) -> bool:
    """Whether all places can be written without touching each other."""
    ordered = sorted(places)
    gaps = [after - before for before, after in pairwise(ordered)]
    span = ordered[-1] - ordered[0]
    return len(ordered) <= MOST_TICKS and min(gaps, default=1) >= 0.06 * span


def axis_of(points: Sequence[Place]) -> Axis:
    """The axis of places (x, label): names where one has a label or lies without end.

    Names keep their order where there are labels, and go by x where there are none.
    """
    if any(label for _, label in points) or not all(math.isfinite(x) for x, _ in points):
        keys = list(dict.fromkeys(points))
        if not any(label for _, label in keys):
            keys.sort(key=lambda key: place_order(key[0]))
        return Axis(
            keys=tuple(keys), names=tuple(shown(label) or axis_number(x) for x, label in keys)
        )
    places = tuple(sorted({x for x, _ in points}))
    return Axis(places=places, is_log=is_geometric(places))


def is_geometric(places: Sequence[float]) -> bool:
    """Whether ascending places are spaced by factors, as 1, 2, 5, 10, 20 are."""
    if len(places) < 3 or places[0] <= 0 or places[-1] < FAR * places[0]:
        return False
    return median(after / before for before, after in pairwise(places)) >= TIMES


def axis_number(x: float) -> str:
    """A place without a label."""
    return {math.inf: "∞", -math.inf: "−∞"}.get(x, "no place" if math.isnan(x) else f"{x:g}")


def shown(text: str, most: int = LONGEST) -> str:
    """A name as a figure can write it: one short line, no control characters."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= most else f"{line[: most - 1]}…"
