"""Figures of exact copies: AUC by their number, and AUC during training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from operator import itemgetter

import numpy as np

from stillage.functional.equivalence import smoothed
from stillage.report.canvas import Picture, canvas, file_name, render, settings
from stillage.report.corpus_figures import STYLES
from stillage.report.mosaic_figures import SIZES, legend
from stillage.report.mosaic_tables import READ_OFF
from stillage.report.mosaic_view import MosaicView, Row
from stillage.report.mosaic_words import attack_words, exact_copies_words, judged_curve
from stillage.report.svg import FAINT, INK
from stillage.report.wording import CHANCE, interval

MOST_TRAININGS = 6  # named lines of the figure of training


def exact_pictures(view: MosaicView) -> list[Picture]:
    """Draw AUC by exact copies under each attack that has it."""
    from matplotlib import rc_context

    with rc_context(settings("mosaic-exact")):
        able = [name for name in view.attacks if judged_curve(view, name)]
        return [exact_picture(view, name, SIZES[len(able) > 1]) for name in able]


def exact_picture(view: MosaicView, attack: str, size: tuple[int, int]) -> Picture:
    """Draw a curve with its band, and the two that near-copies are read off."""
    figure, axes = canvas(*size)
    rows = [view.result(row, "auc") for row in judged_curve(view, attack)]
    x = np.array([row["x"] for row in judged_curve(view, attack)])
    y, low, high = (
        np.array([getattr(row, key) for row in rows]) for key in ("value", "low", "high")
    )
    colour, _, marker = STYLES[0]
    axes.fill_between(x, low, high, color=colour, alpha=0.14, linewidth=0)
    axes.plot(x, y, color=colour, marker=marker, markersize=6, linestyle="none", label="measured")
    curves = [(smoothed(y, name), words) for name, words in READ_OFF.items()]
    for (curve, words), (ink, style, _) in zip(curves, STYLES[1:], strict=False):
        axes.plot(x, curve, color=ink, linestyle=style, linewidth=1.5, label=words)
    axes.axhline(CHANCE, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
    if len(x) <= 12:
        axes.set_xticks(x)
    axes.set(xlabel="exact copies of each canary", ylabel=f"AUC, {attack_words(attack)}")
    axes.set_ylim(min(0.45, np.nanmin([*y, *low]) - 0.02), 1.02)
    axes.grid(True)
    legend(axes)
    said = "; ".join(f"{at:g}: {interval(row)}" for at, row in zip(x, rows, strict=True))
    name, title = f"exact_{file_name(attack)}", f"AUC by exact copies, {attack_words(attack)}"
    svg = render(figure, name=name, title=title, description=f"{said}.")
    points = zip(x, y, low, high, *(curve for curve, _ in curves), strict=True)
    columns = ("copies", "auc", "auc_low", "auc_high", "moving_average", "isotonic")
    return Picture(
        name=name, svg=svg, columns=columns, rows=tuple(tuple(map(float, row)) for row in points)
    )


def monitor_picture(view: MosaicView) -> Picture | None:
    """Draw AUC during training: exact copies by name, other conditions faint."""
    from matplotlib import rc_context

    seen = dict.fromkeys(row["attack"] for of in view.monitors.values() for row in of)
    attack = view.attack if view.attack in seen else next(iter(seen), "")

    def line(name: str) -> list[Row]:
        return [row for row in view.monitors[name] if row["attack"] == attack]

    curve = [row for row in view.curve(view.attack) if row["condition"] in view.monitors]
    count = min(MOST_TRAININGS, len(curve))
    named = {
        row["condition"]: exact_copies_words(row["x"])
        for row in (curve[round(at * (len(curve) - 1) / max(1, count - 1))] for at in range(count))
    }
    others = [name for name in view.monitors if name not in named and line(name)]
    if not others and not named:
        return None
    with rc_context(settings("mosaic-monitor")):
        figure, axes = canvas(430, 300)
        for name in others:
            axes.plot(*steps(line(name)), color=FAINT, linewidth=1, zorder=1)
        for at, (name, words) in enumerate(named.items()):
            colour, style, _ = STYLES[at % len(STYLES)]
            axes.plot(*steps(line(name)), color=colour, linestyle=style, label=words)
        axes.axhline(CHANCE, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
        axes.set(xlabel="training step", ylabel=f"AUC, {attack_words(attack)}")
        axes.grid(True, axis="y")
        legend(axes, ncols=3)
        title, said = "AUC during training", f"{len(view.monitors)} trainings."
        svg = render(figure, name="monitor", title=title, description=said)
    rows = tuple(
        (name, row["step"], row["attack"], row["auc"])
        for name, of in view.monitors.items()
        for row in of
    )
    return Picture(
        name="monitor", svg=svg, columns=("condition", "step", "attack", "auc"), rows=rows
    )


def steps(rows: Sequence[Row]) -> tuple[list[int], list[float]]:
    """Steps and AUCs of a training, in order."""
    rows = sorted(rows, key=itemgetter("step"))
    return [row["step"] for row in rows], [
        math.nan if row["auc"] is None else row["auc"] for row in rows
    ]
