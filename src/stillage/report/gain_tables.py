"""What distillation gave beside what it gave away: the gain over no teacher."""

from __future__ import annotations

import math
from collections.abc import Sequence

from stillage.report.cells import Table, auc_cell, level_words, number, share, table_of
from stillage.report.claims import auc_claim, claims_of
from stillage.report.run_view import RunView
from stillage.report.wording import by_attack, interval, percent, words
from stillage.types import Result

STUDENT, ALONE, MINIMAL = "student", "student_no_teacher", "student_minimal"
QUALITY = ("needed_exact", "rouge_l")
"""What the gain is shown in: the first of these that was measured."""
ATTACKS = ("loss_needed",)
"""Attacks shown beside the primary one for the student that was asked only for what is needed."""


def gain_of(view: RunView, model: str, minus: str) -> Result | None:
    """Find how much better one model is than another on the same records, if measured."""
    for metric in QUALITY:
        for row in view.rows(f"{metric}_gain", model=model, against=minus):
            return row
    return None


def gain_words(view: RunView) -> str:
    """Say what the student can do that one without a teacher cannot, if measured."""
    gain = gain_of(view, STUDENT, ALONE)
    if gain is None or math.isnan(gain.low):
        return ""
    metric = gain.metric.removesuffix("_gain")
    student, alone = (view.result(metric, name) for name in (STUDENT, ALONE))
    if metric == "needed_exact":
        said = (
            f"the student is right on {percent(student)} of the needed answers, without a teacher "
            f"on {percent(alone)}"
        )
    else:
        said = (
            f"the student has ROUGE-L {interval(student, 3)}, without a teacher "
            f"{interval(alone, 3)}"
        )
    shown = f"{said} ({signed(gain)}){alone_words(view)}."
    if gain.low > 0:
        return f"Distilling helps: {shown}"
    if gain.high < 0:
        return f"Distilling costs quality here: {shown}"
    return (
        "Distilling shows no gain here, a student without a teacher is not shown to be worse: "
        f"{shown}"
    )


def alone_words(view: RunView) -> str:
    """Say whether the student without a teacher tells members apart.

    The end of a sentence; empty where it was not audited.
    """
    claims = claims_of(view, ALONE)
    if not claims:
        return ""
    shows = any(claim.shows for claim in claims)
    does = "tells" if shows else "is not shown to tell"
    too = " too" if shows else ""
    auc = by_attack(claims[0].row)
    return f"; the one without a teacher {does} members from nonmembers{too} ({auc})"


def signed(row: Result) -> str:
    """A difference with its sign and interval: percentage points for shares."""
    if row.metric.startswith("rouge_l"):
        return f"{row.value:+.3f} [{row.low:.3f}, {row.high:.3f}]"
    return f"{100 * row.value:+.1f} points [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def minimal_words(view: RunView) -> str:
    """Say what the student asked only for what is needed keeps and gives away."""
    attack = view.primary_attack
    auc, student = (view.result("auc", name, attack=attack) for name in (MINIMAL, STUDENT))
    quality = view.result("needed_exact", MINIMAL)
    if auc is None or quality is None or math.isnan(auc.low):
        return ""
    cost, avoided = (
        gain_of(view, MINIMAL, STUDENT),
        view.result("avoided_leak", STUDENT, attack=attack),
    )
    keeps = f"right on {percent(quality)}"
    keeps += f" ({signed(cost)} against the student)" if cost is not None else ""
    parts = [
        row for name in ATTACKS if (row := view.result("auc", MINIMAL, attack=name)) is not None
    ]
    beside = "".join(f"; {interval(row)}, {words(row.attack)} attack" for row in parts)
    clear = (
        any(claim.is_attributed for claim in claims_of(view, STUDENT))
        and avoided is not None
        and avoided.low > 0
        and student is not None
        and max(row.high for row in (auc, *parts)) < student.low
    )
    less = "leaks less" if clear else "is not shown to leak less"
    left = left_words(view, (auc, *parts))
    return (
        f"Asked only for what is needed, it is {keeps} and {less}: {by_attack(auc)}{beside}{left}."
    )


def left_words(view: RunView, rows: Sequence[Result]) -> str:
    """Say whether some of the leak is left in these AUCs of one model.

    Shown beyond the controls, or only above chance.
    """
    claims = [claim for claim in (auc_claim(view, row) for row in rows) if claim.shows]
    if any(claim.is_attributed for claim in claims):
        return " (some is left)"
    if any(claim.against for claim in claims):
        return " (what is left is not shown to be more than a control's)"
    return " (what is left may have another cause: no control was asked)" if claims else ""


def halves_table(view: RunView) -> Table | None:
    """Tabulate skill and leak of every student.

    None where no gain over a student without a teacher was measured.
    """
    if gain_of(view, STUDENT, ALONE) is None:
        return None
    skilled = bool(view.rows("needed_exact"))
    attacks = [view.primary_attack, *(name for name in ATTACKS if name in view.attacks)]
    rows = []
    for name in view.models:
        if not name.startswith("student"):
            continue
        gain = gain_of(view, name, ALONE)
        quality = (
            {"needed part right": share(view.result("needed_exact", name))}
            if skilled
            else {"ROUGE-L": number(view.result("rouge_l", name), 3)}
        )
        rows.append(
            {
                "model": view.called(name),
                **quality,
                "more than without a teacher": "–" if gain is None else signed(gain),
                **{
                    f"AUC, {words(attack)} attack": auc_cell(
                        view.result("auc", name, attack=attack)
                    )
                    for attack in attacks
                    if attack
                },
            }
        )
    note = (
        "Quality on test records, the same for all models; differences are paired. "
        f"{level_words(view)}."
    )
    if skilled and (end := str(view.setting("data", "needed_until", ""))):
        note += (
            f" The needed part of an answer goes up to its first “{end}”; what follows is not "
            "judged here."
        )
    if MINIMAL in view.models:
        note += (
            f" The {words(MINIMAL)} never learned the rest, so that numbers over whole answers "
            "speak against it."
        )
    return table_of("What each student can do, and what it gives away", rows, note)
