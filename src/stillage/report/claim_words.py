"""A claim in words: what a model gives away, and what the controls reach."""

from __future__ import annotations

import math

from stillage.report.claims import (
    TAILS,
    Claim,
    auc_claims,
    extraction_pair,
    family,
    recital_claim,
    strongest_auc,
)
from stillage.report.run_view import RunView
from stillage.report.wording import by_attack, interval, percent, times_in_100, words
from stillage.run.config import AuditConfig
from stillage.types import Result

CONTROLS = {
    "student_counterfactual": "the same student from a teacher that never saw them",
    "student_no_teacher": "a student without that teacher",
    "teacher_counterfactual": "the same teacher without them",
}


def name_of(view: RunView, model: str) -> str:
    """A model in the words of a sentence."""
    if model == "student":
        trained_here = (
            "student" in view.summaries and str(view.setting("distill", "method", "kd")) != "sft"
        )
        return "The student distilled on public data only" if trained_here else "The student"
    return "The teacher" if model == "teacher" else f"The model {view.called(model)}"


def told(view: RunView, model: str, who: str, claim: Claim, *, leaks: bool) -> str:
    """What a claim says of the model, with its numbers; leaks: its cause is shown."""
    row = claim.row
    whose = (
        "the private records it was trained on"
        if model == "teacher"
        else "the teacher's private records"
    )
    still = " still" if "distilled" in who else ""
    if row.metric in TAILS:
        does = (
            "betrays a few private records"
            if leaks
            else "tells a few private records from nonmembers"
        )
        average = (
            ", though on average they look like nonmembers" if not shows_auc(view, model) else ""
        )
        auc = by_attack(auc_claims(view, model)[0].row)
        return (
            f"{who} {does}: at {100 * row.fpr:g} % false alarms {percent(row)} of members are found"
            f" ({words(row.attack)} attack){average} ({auc})"
        )
    if row.metric == "extraction_rate":
        nonmembers = extraction_pair(view, model)[1]
        auc = by_attack(auc_claims(view, model)[0].row)
        numbers = f"{percent(row)} of members (nonmembers: {percent(nonmembers)})"
        return f"{who} recites {target_words(view)} of {numbers}, though its {auc}"
    numbers = meaning(view, model, row)
    if leaks:
        return f"{who}{still} betrays {whose}: {numbers}"
    return f"{who} tells members from nonmembers apart: {numbers}"


def meaning(view: RunView, model: str, row: Result) -> str:
    """Say what an AUC means: "the loss attack picks ... 91 times in 100"."""
    return (
        f"the {words(row.attack)} attack {times_in_100(row.value)} (AUC "
        f"{interval(row)}{chosen(view, model, row)})"
    )


def shows_auc(view: RunView, model: str) -> bool:
    """Tell whether any AUC of the model lies above chance."""
    return any(claim.shows for claim in auc_claims(view, model))


def chosen(view: RunView, model: str, row: Result) -> str:
    """Say how the attack was chosen: "; strongest of 6, p = 0.0005"."""
    tested, names = view.result("best_attack_p", model), family(view, model)
    if len(names) < 2 or tested is None or math.isnan(tested.value):
        return ""
    if row.metric == "best_attack_auc":
        return f"; strongest of {len(names)}, p = {tested.value:.2g}"
    strongest = strongest_auc(view, model)
    if strongest is None or strongest.attack == row.attack:
        return f"; named first of {len(names)}"
    return (
        f"; named first of {len(names)}; the strongest: {by_attack(strongest)}, p = "
        f"{tested.value:.2g}"
    )


def controls(view: RunView, claim: Claim, *, only_reached: bool = False) -> str:
    """Say what each control reaches, or those that are not below.

    "; a student without that teacher: 0.50 [0.47, 0.53]".
    """
    share = claim.row.metric in (*TAILS, "extraction_rate")
    said = [
        f"{control_words(view, other.control)}: "
        f"{percent(other.row) if share else interval(other.row)}"
        for other in claim.against
        if not (only_reached and other.is_above)
    ]
    return f"{': ' if only_reached else '; '}{'; '.join(said)}" if said else ""


def control_words(view: RunView, name: str) -> str:
    """Name a control in the words of a sentence."""
    called = view.called(name)
    return (
        f"{called} (given as a reference)"
        if name == view.given_reference
        else CONTROLS.get(name, called)
    )


def target_words(view: RunView) -> str:
    """Name what was to be recited: "the badge", or "the first 32 tokens"."""
    column = str(view.setting("audit", "extract", ""))
    tokens = view.setting("audit", "extract_tokens", AuditConfig.extract_tokens)
    return f"the {column}" if column else f"the first {tokens} tokens"


def recital_words(view: RunView, model: str) -> str:
    """Say what the model recites of members beyond nonmembers and controls."""
    members, nonmembers = extraction_pair(view, model)
    if members is None:
        return ""
    claim = recital_claim(view, model)
    shares = f"{percent(members)} of members (nonmembers: {percent(nonmembers)})"
    numbers = f"{target_words(view)} of {shares}"
    if claim is None or not claim.shows:
        return f"It is not shown to recite more than guessing would: {numbers}."
    if claim.is_attributed:
        return f"It recites {numbers}{controls(view, claim)}."
    if claim.against:
        return (
            f"It recites {numbers}, not clearly more than a "
            f"control{controls(view, claim, only_reached=True)}."
        )
    return f"It recites {numbers}; no control model shows how much of that is guessed."
