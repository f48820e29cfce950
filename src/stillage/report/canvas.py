"""How a figure is drawn: size, fonts and colours; equal inputs give equal bytes."""

from __future__ import annotations

import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.report.svg import FAINT, INK, tidy
from stillage.types import Array, Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOOKS = {  # colour (Okabe and Ito), line style, marker: no model is told by colour alone
    "student": ("#0072b2", "-", "o"),
    "teacher": ("#d55e00", (0, (6, 1.5)), "s"),
    "student_minimal": ("#56b4e9", (0, (5, 1, 1, 1, 1, 1)), "P"),
    "student_counterfactual": ("#cc79a7", (0, (4, 1.5, 1, 1.5)), "D"),
    "student_no_teacher": ("#009e73", (0, (1, 1.2)), "^"),
    "teacher_counterfactual": ("#e69f00", (0, (2.5, 1.2)), "v"),
}
SPARE = ("#999999", (0, (3, 1, 1, 1)), "X")


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A figure: its name (of its files), its `<svg>`, and the numbers behind it."""

    name: str
    svg: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float | int, ...], ...]


def look(model: str) -> tuple[str, str | tuple, str]:
    """Colour, line style and marker of a model."""
    return LOOKS.get(model, SPARE)


def settings(name: str) -> dict[Any, Any]:
    """Matplotlib's settings: text stays text, ids depend on the name alone."""
    return {
        "svg.hashsalt": f"stillage-{name}",
        "svg.fonttype": "none",
        "text.parse_math": False,
        "font.family": "DejaVu Sans",
        "font.size": 9.5,
        "axes.linewidth": 0.7,
        "axes.edgecolor": INK,
        "text.color": INK,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "xtick.major.width": 0.7,
        "ytick.major.width": 0.7,
        "xtick.minor.width": 0.4,
        "ytick.minor.width": 0.4,
        "xtick.major.size": 3,
        "ytick.major.size": 3,
        "xtick.minor.size": 1.5,
        "ytick.minor.size": 1.5,
        "legend.frameon": False,
        "legend.fontsize": 9,
        "grid.color": FAINT,
        "grid.linewidth": 0.6,
        "lines.linewidth": 1.8,
        "axes.axisbelow": True,
    }


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty figure of width x height pixels, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72, layout="constrained")
    return figure, figure.add_subplot()


def render(figure: Figure, *, name: str, title: str, description: str) -> str:
    """The figure as a tidy `<svg>` element."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return tidy(buffer.getvalue(), name=f"fig-{name}", title=title, description=description)


def chance_line(axes: Axes) -> None:
    """Mark an AUC of 0.5 on the horizontal axis."""
    axes.axvline(0.5, color=INK, linewidth=0.9, linestyle=(0, (2, 2)))
    axes.text(0.5, 0.02, " chance", transform=axes.get_xaxis_transform(), fontsize=9, ha="left")


def percent_ticks(axes: Axes, left: float) -> None:
    """Label powers of ten as percents on both axes."""
    from matplotlib.ticker import NullFormatter

    ticks = [10.0**power for power in range(math.ceil(math.log10(left) - 1e-9), 1)]
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_ticks(ticks, [f"{100 * tick:g} %" for tick in ticks])
        axis.set_minor_formatter(NullFormatter())


def arms(row: Result) -> Array:
    """Error-bar lengths [2, 1] of a Result; zero where it has no interval."""
    lengths = np.array([[row.value - row.low], [row.high - row.value]])
    return np.fmax(lengths, 0.0)  # of a number and NaN the number


def file_name(model: str) -> str:
    """A model's name with only letters, digits, - and _, for files and ids."""
    return re.sub("[^A-Za-z0-9_-]", "_", model)
