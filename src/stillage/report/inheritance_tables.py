"""What of the teacher is left in the student, on the same records."""

from __future__ import annotations

import math

from stillage.report.cells import Cell, Table, head, level_words, number, share
from stillage.report.run_view import RunView
from stillage.report.tables import asked_fprs
from stillage.report.wording import words
from stillage.types import Result

STUDENT = "student"


def inheritance_table(view: RunView) -> Table | None:
    """Tabulate, per attack, the leak that the teacher caused and what arrived."""
    fprs = asked_fprs(view)
    metrics = ("attributable_leak", "inheritance", "spearman")
    rows = []
    for attack in view.attacks:
        found = [view.result(metric, STUDENT, attack=attack) for metric in metrics]
        leaked = [view.result("tpr_on_leaked", STUDENT, attack=attack, fpr=fpr) for fpr in fprs]
        if any(row is not None for row in (*found, *leaked)):
            rows.append((head(attack), *map(defined, found), *map(defined_share, leaked)))
    if not rows:
        return None
    columns = (
        "attack",
        "AUC due to the teacher",
        "share that arrived",
        "rank correlation",
        *(f"found again at {100 * fpr:g} % FPR" for fpr in fprs),
    )
    note = (
        "Due to the teacher: the student’s AUC minus that of the same student from a teacher that "
        "never saw the members. Share that arrived: (student’s AUC − 0.5) / (teacher’s AUC − 0.5). "
        "Rank correlation: of teacher’s and student’s scores, among members. Found again: of the "
        "members found through the teacher at that rate, those found through the student too. "
        f"{level_words(view)}."
    )
    return Table(
        caption="The student beside its teacher", columns=columns, rows=tuple(rows), note=note
    )


def sets_table(view: RunView) -> Table | None:
    """Tabulate what is inherited, possible only through the teacher, or easy."""
    rows = []
    recited = [
        recital_row(view, f"{name}_rate") for name in ("inherited", "teacher_specific", "easy")
    ]
    if any(row is not None for row in recited):
        rows.append((Cell(text="recited word for word"), *map(defined_share, recited)))
    for fpr in asked_fprs(view):
        attack = view.primary_attack
        names = ("tpr_on_leaked", "teacher_specific_rate", "easy_rate")
        found = [view.result(name, STUDENT, attack=attack, fpr=fpr) for name in names]
        if any(row is not None for row in found):
            label = f"found at {100 * fpr:g} % FPR, {words(attack)} attack"
            rows.append((Cell(text=label), *map(defined_share, found)))
    if not rows:
        return None
    columns = (
        "private records",
        "teacher’s, also the student’s",
        "student’s, only through the teacher",
        "student’s, easy",
    )
    note = (
        "The first column is a share of what the teacher recites or what is found through it, the "
        "others of the student’s. Easy: the student without a teacher has the record too. "
        "Intervals by Clopper and Pearson, near-duplicates counted once; of what is found, they "
        "hold at this sample's thresholds, not for other nonmembers."
    )
    return Table(
        caption="Inherited, teacher-specific, easy", columns=columns, rows=tuple(rows), note=note
    )


def curve_table(view: RunView) -> Table | None:
    """Tabulate E[student | teacher > tau], of what is recited and of scores."""
    points = [
        row for row in view.results if row.metric == "inheritance_curve" and row.model == STUDENT
    ]
    by_tau: dict[float, dict[tuple[str, str], Result]] = {}
    for row in points:
        by_tau.setdefault(row.threshold, {})[row.attack, row.dataset] = row
    attacks = sorted({row.attack for row in points})
    if not points:
        return None
    rows = []
    for tau, found in sorted(by_tau.items()):
        cells = [Cell(text=f"the teacher’s above {tau:g}")]
        for attack in attacks:
            row, floor = found.get((attack, "private")), found.get((attack, "nonmembers"))
            cells += [Cell(text=str(row.n) if row else "–"), defined(row), defined(floor)]
        rows.append(tuple(cells))
    shown = [
        "share of tokens recited" if not attack else f"{words(attack)} score’s rank"
        for attack in attacks
    ]
    columns = (
        "members for which",
        *(name for label in shown for name in ("n members", f"student: {label}", "of nonmembers")),
    )
    note = (
        "Rank: share of nonmembers that score below the record. Means over the members for which "
        "the teacher is above, and over the nonmembers for which it is: what easy records reach."
    )
    return Table(
        caption=f"Mean {' and '.join(shown)} of the student, where the teacher’s is high",
        columns=columns,
        rows=tuple(rows),
        note=note,
    )


def recital_row(view: RunView, metric: str) -> Result | None:
    """The row over recited records: it belongs to no attack."""
    rows = (
        row
        for row in view.results
        if row.metric == metric and row.model == STUDENT and not row.attack
    )
    return next(rows, None)


def defined(row: Result | None) -> Cell:
    """A number, or why there is none in one word."""
    return number(row) if row is None or not math.isnan(row.value) else undefined(row)


def defined_share(row: Result | None) -> Cell:
    """A share in percent with its denominator, or why there is none."""
    if row is None or not math.isnan(row.value):
        cell = share(row)
        return (
            cell if row is None else Cell(text=cell.text, small=f"{cell.small} of {row.n}".strip())
        )
    return undefined(row)


def undefined(row: Result) -> Cell:
    """Show a dash, and the reason."""
    return Cell(text="–", small=row.reason)
