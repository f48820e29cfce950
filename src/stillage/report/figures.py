"""ROC curves, quality against leakage, and every model's scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.audit.scores import Scored, Scores
from stillage.report.canvas import (
    Picture,
    arms,
    canvas,
    chance_line,
    file_name,
    look,
    percent_ticks,
    render,
    settings,
)
from stillage.report.run_view import RunView
from stillage.report.svg import FAINT, INK
from stillage.report.tables import audited
from stillage.report.wording import interval, words
from stillage.types import Array, Result

FEWEST = 5  # nonmembers above a threshold below which a rate is mostly luck
BINS = 28
QUALITY = (
    ("needed_exact", "needed part exact on test records", True),
    ("rouge_l", "ROUGE-L on test records", True),
    ("exact_match", "exact match on test records", True),
    ("bits_per_byte", "bits per byte on test records (lower is better)", False),
)


def attack_scores(view: RunView, attack: str) -> dict[str, Scored]:
    """Read one attack's scores of every model that has some of members and nonmembers."""
    if view.scores is None or not attack:
        return {}
    read = Scores(view.scores)
    found = {name: read.of(name, attack) for name in view.models}
    return {name: one for name, one in found.items() if one.has_both}


def pictures(view: RunView) -> dict[str, Picture]:
    """Draw every figure that the run has numbers for, by name.

    roc, quality_leakage, scores_<model>.
    """
    from matplotlib import rc_context

    scores = attack_scores(view, view.primary_attack)
    drawn: list[Picture] = []
    with rc_context(settings("report")):
        if scores:
            drawn.append(roc(view, scores))
        points = tradeoff(view)
        if points:
            drawn.append(scatter(view, points))
    for name, one in scores.items():
        with rc_context(settings(f"report-{name}")):
            drawn.append(histogram(view, name, one.scores, one.is_member))
    return {picture.name: picture for picture in drawn}


def roc(view: RunView, scores: Mapping[str, Scored]) -> Picture:
    """Draw ROC curves of the primary attack on log axes, with pointwise bands."""
    from stillage.functional.stats import roc_band, roc_curve

    figure, axes = canvas(400, 400)
    rows: list[tuple[str | float | int, ...]] = []
    fewest = min(int((~one.is_member).sum()) for one in scores.values())
    left = min(0.5, 1 / fewest)
    for name in reversed(list(scores)):  # the subject of the report on top
        values, member = scores[name].scores, scores[name].is_member
        colour, style, _ = look(name)
        curve, band = roc_curve(values, member), roc_band(values, member, level=view.level)
        told = band.fpr >= min(0.5, FEWEST / fewest)  # left of it every band is the whole height
        low, high = np.maximum(band.low[told], left / 2), band.high[told]
        axes.fill_between(band.fpr[told], low, high, color=colour, alpha=0.12, linewidth=0)
        x, y = thinned(curve.fpr, curve.tpr, left)
        label = f"{view.called(name)}: {auc_words(view, name)}"
        axes.plot(x, y, color=colour, linestyle=style, drawstyle="steps-post", label=label)
        rows += [
            (name, *map(float, point))
            for point in zip(band.fpr, band.tpr, band.low, band.high, strict=True)
        ]
    axes.plot([left, 1], [left, 1], color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
    axes.axvspan(left, min(1.0, FEWEST / fewest), color=FAINT, alpha=0.5, linewidth=0, zorder=0)
    axes.set(xscale="log", yscale="log", xlim=(left, 1), ylim=(left, 1.06))
    axes.set_xlabel("false-positive rate (nonmembers called members)")
    axes.set_ylabel("true-positive rate (members found)")
    axes.grid(True)
    percent_ticks(axes, left)
    axes.legend(
        *((*each[-2::-1], each[-1]) for each in axes.get_legend_handles_labels()),
        loc="lower left",
        bbox_to_anchor=(0, 1.0),
        ncols=1,
        borderaxespad=0.3,
        handlelength=2.6,
    )
    said = "; ".join(f"{view.called(name)}: {auc_words(view, name)}" for name in scores)
    description = f"Log-log axes, chance is the diagonal. {said}."
    title = f"ROC curves, {words(view.primary_attack)} attack"
    svg = render(figure, name="roc", title=title, description=description)
    columns = ("model", "fpr", "tpr", "tpr_low", "tpr_high")
    return Picture(name="roc", svg=svg, columns=columns, rows=tuple(sorted(rows)))


def auc_words(view: RunView, model: str) -> str:
    """ "AUC 0.96 [0.95, 0.97]" under the primary attack."""
    return f"AUC {interval(view.result('auc', model, attack=view.primary_attack))}"


def thinned(fpr: Array, tpr: Array, left: float, most: int = 400) -> tuple[Array, Array]:
    """Thin a curve from `left` on to about `most` vertices, even on a log axis.

    Its first is the TPR reached there.
    """
    start = float(tpr[fpr <= left].max(initial=0.0))
    inside = fpr >= left
    x, y = np.concatenate([[left], fpr[inside]]), np.concatenate([[start], tpr[inside]])
    if len(x) > most:
        wanted = np.searchsorted(x, np.geomspace(left, 1, most), side="right") - 1
        keep = np.unique(np.concatenate([[0], wanted, [len(x) - 1]]))
        x, y = x[keep], y[keep]
    return x, np.maximum(y, left / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class QualityPoint:
    """A model in the quality-against-leakage plot."""

    model: str
    quality: Result
    leakage: Result


def tradeoff(view: RunView) -> tuple[QualityPoint, ...]:
    """Pair quality and AUC of each model; the first metric of QUALITY that any has."""
    for metric, _, _ in QUALITY:
        points = []
        for name in audited(view):
            quality = view.result(metric, name)
            leakage = view.result("auc", name, attack=view.primary_attack)
            if quality and leakage and not (math.isnan(quality.value) or math.isnan(leakage.value)):
                points.append(QualityPoint(model=name, quality=quality, leakage=leakage))
        if points:
            return tuple(points)
    return ()


def scatter(view: RunView, points: Sequence[QualityPoint]) -> Picture:
    """Draw quality against leakage, a cross of intervals per model."""
    figure, axes = canvas(400, 310)
    metric, label, higher = next(entry for entry in QUALITY if entry[0] == points[0].quality.metric)
    for point in points:
        colour, _, marker = look(point.model)
        axes.errorbar(
            point.leakage.value,
            point.quality.value,
            xerr=arms(point.leakage),
            yerr=arms(point.quality),
            color=colour,
            marker=marker,
            markersize=7.5,
            linewidth=1.2,
            linestyle="none",
            label=view.called(point.model),
        )
    low = min(0.4, *(np.fmin(p.leakage.low, p.leakage.value) - 0.02 for p in points))
    chance_line(axes)
    leakage = f"leakage: AUC, {words(view.primary_attack)} attack"
    axes.set(xlim=(low, 1.015), xlabel=leakage, ylabel=label)
    axes.margins(y=0.18)
    if not higher:
        axes.invert_yaxis()
    axes.grid(True)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.0), ncols=2, borderaxespad=0.3)
    rows = tuple(
        (p.model, *(n for row in (p.quality, p.leakage) for n in (row.value, row.low, row.high)))
        for p in points
    )
    said = "; ".join(
        f"{view.called(p.model)}: {interval(p.quality)} against AUC {interval(p.leakage)}"
        for p in points
    )
    name, title = "quality_leakage", "Quality against leakage"
    svg = render(figure, name=name, title=title, description=f"{said}.")
    columns = ("model", metric, f"{metric}_low", f"{metric}_high", "auc", "auc_low", "auc_high")
    return Picture(name=name, svg=svg, columns=columns, rows=rows)


def histogram(view: RunView, model: str, values: Array, member: Array) -> Picture:
    """Draw how a model scores members (filled) and nonmembers (outline)."""
    figure, axes = canvas(330, 190)
    colour = look(model)[0]
    edges = bin_edges(values)
    inside, outside = (
        np.histogram(values[who], edges)[0] / max(1, int(who.sum())) for who in (member, ~member)
    )
    axes.stairs(
        100 * inside, edges, fill=True, color=colour, alpha=0.45, linewidth=0, label="members"
    )
    axes.stairs(100 * inside, edges, color=colour, linewidth=0.9)
    axes.stairs(100 * outside, edges, color=INK, linewidth=1.3, label="nonmembers")
    axes.set_xlabel(f"{words(view.primary_attack)} score, higher: more like a member", fontsize=9)
    axes.set_ylabel("% of group", fontsize=9)
    axes.set_xlim(edges[0], edges[-1])
    axes.margins(y=0.15)
    axes.set_title(view.called(model), loc="left", fontsize=10, fontweight="bold")
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 0.98),
        ncols=2,
        borderaxespad=0.3,
        handlelength=1.2,
        columnspacing=1,
    )
    medians = (
        f"median {np.median(values[member]):.3g} for members, {np.median(values[~member]):.3g} for "
        "nonmembers"
    )
    name, title = file_name(model), f"Scores of the {view.called(model)}"
    svg = render(figure, name=f"scores-{name}", title=title, description=medians)
    rows = tuple(
        (model, float(low), float(high), float(a), float(b))
        for low, high, a, b in zip(edges, edges[1:], inside, outside, strict=False)
    )
    columns = ("model", "from", "to", "share_of_members", "share_of_nonmembers")
    return Picture(name=f"scores_{name}", svg=svg, columns=columns, rows=rows)


def bin_edges(values: Array) -> Array:
    """Cut all scores into at most BINS + 3 equal bins; of a constant, one unit wide.

    The edges are round, so that none is a score of a record.
    """
    low, high = float(values.min()), float(values.max())
    if not high - low > 1e-12 * max(1.0, abs(low), abs(high)):
        low, high = low - 0.5, high + 0.5
    least = (high - low) / BINS
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)
    first, last = math.floor(low / step), math.ceil(high / step)
    first -= step * first > low  # rounded to the wrong side
    last += step * last < high
    return step * np.arange(first, last + 1)
