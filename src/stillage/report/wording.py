"""Names and numbers in the words of a sentence."""

from __future__ import annotations

import math

from stillage.types import Result

CHANCE = 0.5
NAMES = {
    "student_counterfactual": "student, counterfactual",
    "student_no_teacher": "student, no teacher",
    "student_minimal": "student, asked for less",
    "loss_needed": "needed-part loss",
    "teacher_counterfactual": "teacher, counterfactual",
    "min_k": "min-k",
    "min_k_plus_plus": "min-k++",
}


def words(name: str) -> str:
    """Name a model, an attack or a check in running text."""
    return NAMES.get(name, name.replace("_", " "))


def interval(row: Result | None, digits: int = 2) -> str:
    """Write a number with its interval, where it has them: "0.96 [0.95, 0.97]".

    An interval that begins and does not end: "0.96 [0.95, no limit]".
    """
    if row is None:
        return "not measured"
    if math.isnan(row.value):
        return "no value"
    value, low, high = (
        "no limit" if math.isnan(number) else f"{number:.{digits}f}"
        for number in (row.value, row.low, row.high)
    )
    return value if math.isnan(row.low) else f"{value} [{low}, {high}]"


def percent(row: Result | None) -> str:
    """Write a share with its interval, in percent: "12.3 % [9.1, 16.0]"."""
    if row is None:
        return "not measured"
    if math.isnan(row.value):
        why = nonmembers_needed(row)
        return f"no value ({why})" if why else "no value"
    value = f"{100 * row.value:.1f} %"
    return value if math.isnan(row.low) else f"{value} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def nonmembers_needed(row: Result) -> str:
    """Say how many nonmembers a refused rate needs: "60 nonmembers, 300 needed"."""
    is_refused = row.metric == "tpr_at_fpr" and math.isnan(row.value) and row.needed
    return f"{row.n_nonmembers:,} nonmembers, {row.needed:,} needed" if is_refused else ""


def by_attack(row: Result) -> str:
    """Name an AUC by its attack: "AUC 0.96 [0.95, 0.97], loss attack"."""
    return f"AUC {interval(row)}, {words(row.attack)} attack"


def times_in_100(auc: float) -> str:
    """Say what an AUC means: how often the higher score of a pair is the member's."""
    pair = "a random pair of a member and a nonmember"
    return f"picks the member of {pair} {100 * auc:.0f} times in 100"


def own_name(path: str) -> str:
    """Name a model by the end of its path or hub id; RUN/student/model: RUN/student."""
    parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "~")]
    if len(parts) > 1 and parts[-1] == "model":
        return "/".join(parts[-3:-1])
    return parts[-1] if parts else path


def sentence(text: str) -> str:
    """Give a text a capital letter and a full stop."""
    return text[:1].upper() + text[1:].rstrip(".") + "."


def joined(*parts: str) -> str:
    """Join the parts that are not empty."""
    return " ".join(part for part in parts if part)
