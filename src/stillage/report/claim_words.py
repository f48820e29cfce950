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
    """Name a model in the words of a sentence."""
    if model == "student":
        method = str(view.setting("distill", "method", "kd"))
        trained_here = model in view.summaries and method != "sft"
        return "The student distilled on public data only" if trained_here else "The student"
    return "The teacher" if model == "teacher" else f"The model {view.called(model)}"


def told(view: RunView, model: str, who: str, claim: Claim, *, leaks: bool) -> str:
    """Say a claim about the model, with its numbers; leaks: its cause is shown."""
    row = claim.row
    whose = (
        "private records it was trained on" if model == "teacher" else "teacher's private records"
    )
    still = " still" if "distilled" in who else ""
    if row.metric in TAILS:
        records = "a few private records"
        does = f"betrays {records}" if leaks else f"tells {records} from nonmembers"
        shown = any(other.shows for other in auc_claims(view, model))
        average = "" if shown else ", though on average they look like nonmembers"
        auc = by_attack(auc_claims(view, model)[0].row)
        return (
            f"{who} {does}: at {100 * row.fpr:g} % false alarms {percent(row)} of members are found"
            f" ({words(row.attack)} attack){average} ({auc})"
        )
    if row.metric == "extraction_rate":
        auc = by_attack(auc_claims(view, model)[0].row)
        return f"{who} recites {recited_shares(view, model)}, though its {auc}"
    numbers = meaning(view, model, row)
    if leaks:
        return f"{who}{still} betrays the {whose}: {numbers}"
    return f"{who} tells members from nonmembers apart: {numbers}"


def meaning(view: RunView, model: str, row: Result) -> str:
    """Say what an AUC means: "the loss attack picks ... 91 times in 100"."""
    return (
        f"the {words(row.attack)} attack {times_in_100(row.value)} (AUC "
        f"{interval(row)}{chosen(view, model, row)})"
    )


def chosen(view: RunView, model: str, row: Result) -> str:
    """Say how the attack was chosen: "; strongest of 6, p = 0.0005"."""
    tested, names = view.result("best_attack_p", model), family(view, model)
    if len(names) < 2 or tested is None or math.isnan(tested.value):
        return ""
    if row.metric == "best_attack_auc":
        return f"; strongest of {len(names)}, p = {tested.value:.2g}"
    strongest, first = strongest_auc(view, model), f"; named first of {len(names)}"
    if strongest is None or strongest.attack == row.attack:
        return first
    return f"{first}; the strongest: {by_attack(strongest)}, p = {tested.value:.2g}"


def controls(view: RunView, claim: Claim, *, only_reached: bool = False) -> str:
    """Say what each control reaches, or those that are not below.

    "; a student without that teacher: 0.50 [0.47, 0.53]".
    """
    share = claim.row.metric in (*TAILS, "extraction_rate")
    said = [
        f"{control_words(view, other.row.model)}: "
        f"{percent(other.row) if share else interval(other.row)}"
        for other in claim.against
        if not (only_reached and other.is_above)
    ]
    return f"{': ' if only_reached else '; '}{'; '.join(said)}" if said else ""


def control_words(view: RunView, name: str) -> str:
    """Name a control in the words of a sentence."""
    called = view.called(name)
    if name == view.given_reference:
        return f"{called} (given as a reference)"
    return CONTROLS.get(name, called)


def target_words(view: RunView) -> str:
    """Name what was to be recited: "the badge", or "the first 32 tokens"."""
    column = str(view.setting("audit", "extract", ""))
    tokens = view.setting("audit", "extract_tokens", AuditConfig.extract_tokens)
    return f"the {column}" if column else f"the first {tokens} tokens"


def recited_shares(view: RunView, model: str) -> str:
    """Say what a model recites: "the badge of 14 % of members (nonmembers: 0 %)"."""
    members, nonmembers = map(percent, extraction_pair(view, model))
    return f"{target_words(view)} of {members} of members (nonmembers: {nonmembers})"


def recital_words(view: RunView, model: str) -> str:
    """Say what the model recites of members beyond nonmembers and controls."""
    if extraction_pair(view, model)[0] is None:
        return ""
    claim, numbers = recital_claim(view, model), recited_shares(view, model)
    if claim is None or not claim.shows:
        return f"It is not shown to recite more than guessing would: {numbers}."
    if claim.is_attributed:
        return f"It recites {numbers}{controls(view, claim)}."
    if claim.against:
        reached = controls(view, claim, only_reached=True)
        return f"It recites {numbers}, not clearly more than a control{reached}."
    return f"It recites {numbers}; no control model shows how much of that is guessed."
