"""What of the teacher is left in the student, on the same records."""

from __future__ import annotations

import math
from dataclasses import replace

from stillage.report.cells import DASH, Cell, Table, level_words, number, share, table_of
from stillage.report.run_view import RunView
from stillage.report.tables import asked_fprs
from stillage.report.wording import words
from stillage.types import Result

STUDENT = "student"


def inheritance_table(view: RunView) -> Table | None:
    """Tabulate, per attack, the leak that the teacher caused and what arrived."""
    rows, fprs = [], asked_fprs(view)
    for attack in view.attacks:
        due, arrived, rank = (
            view.result(metric, STUDENT, attack=attack)
            for metric in ("attributable_leak", "inheritance", "spearman")
        )
        leaked = {
            f"found again at {100 * fpr:g} % FPR": view.result(
                "tpr_on_leaked", STUDENT, attack=attack, fpr=fpr
            )
            for fpr in fprs
        }
        if any((due, arrived, rank, *leaked.values())):
            rows.append(
                {
                    "attack": words(attack),
                    "AUC due to the teacher": defined(due),
                    "share that arrived": defined(arrived),
                    "rank correlation": defined(rank),
                    **{heading: defined_share(row) for heading, row in leaked.items()},
                }
            )
    note = (
        "Due to the teacher: the student’s AUC minus that of the same student from a teacher that "
        "never saw the members. Share that arrived: (student’s AUC − 0.5) / (teacher’s AUC − 0.5). "
        "Rank correlation: of teacher’s and student’s scores, among members. Found again: of the "
        "members found through the teacher at that rate, those found through the student too. "
        f"{level_words(view)}."
    )
    return table_of("The student beside its teacher", rows, note)


def sets_table(view: RunView) -> Table | None:
    """Tabulate what is inherited, possible only through the teacher, or easy."""
    attack = view.primary_attack
    found = {
        "recited word for word": [
            next(iter(view.rows(f"{name}_rate", model=STUDENT, attack="")), None)
            for name in ("inherited", "teacher_specific", "easy")
        ]
    }
    for fpr in asked_fprs(view):
        found[f"found at {100 * fpr:g} % FPR, {words(attack)} attack"] = [
            view.result(name, STUDENT, attack=attack, fpr=fpr)
            for name in ("tpr_on_leaked", "teacher_specific_rate", "easy_rate")
        ]
    rows = [
        {
            "private records": label,
            "teacher’s, also the student’s": defined_share(inherited),
            "student’s, only through the teacher": defined_share(specific),
            "student’s, easy": defined_share(easy),
        }
        for label, (inherited, specific, easy) in found.items()
        if inherited or specific or easy
    ]
    note = (
        "The first column is a share of what the teacher recites or what is found through it, the "
        "others of the student’s. Easy: the student without a teacher has the record too. "
        "Intervals by Clopper and Pearson, near-duplicates counted once; of what is found, they "
        "hold at this sample's thresholds, not for other nonmembers."
    )
    return table_of("Inherited, teacher-specific, easy", rows, note)


def curve_table(view: RunView) -> Table | None:
    """Tabulate E[student | teacher > tau], of what is recited and of scores."""
    points = view.rows("inheritance_curve", model=STUDENT)
    by_tau: dict[float, dict[tuple[str, str], Result]] = {}
    for row in points:
        by_tau.setdefault(row.threshold, {})[row.attack, row.dataset] = row
    attacks = sorted({row.attack for row in points if row.n} or {row.attack for row in points})
    if not points:
        return None
    rows = []
    for tau, found in sorted(by_tau.items()):
        cells = [Cell(text=f"the teacher’s above {tau:g}")]
        for attack in attacks:
            row, floor = found.get((attack, "private")), found.get((attack, "nonmembers"))
            cells += [Cell(text=str(row.n) if row else "–"), curve_cell(row), curve_cell(floor)]
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
    caption = f"Mean {' and '.join(shown)} of the student, where the teacher’s is high"
    return Table(caption=caption, columns=columns, rows=tuple(rows), note=note)


def curve_cell(row: Result | None) -> Cell:
    """Show a point of the curve; it has no number where no record is above."""
    return defined(replace(row, reason="no record above") if row and not row.n else row)


def defined(row: Result | None) -> Cell:
    """Show a number, or a dash and the reason."""
    if row is None or not math.isnan(row.value):
        return number(row)
    return Cell(text="–", small=row.reason)


def defined_share(row: Result | None) -> Cell:
    """Show a share in percent with its denominator, or a dash and the reason."""
    if row is None:
        return DASH
    if math.isnan(row.value):
        return defined(row)
    cell = share(row)
    return replace(cell, small=f"{cell.small} of {row.n}".strip())
