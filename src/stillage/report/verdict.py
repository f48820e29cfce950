"""What the run shows, in one sentence derived from its numbers: what leaks, what does not, or why nothing may be claimed.

A leak is claimed from three signals only, each against its own floor: an AUC whose interval lies above 0.5 (the first
configured attack; of the others only the best, by the interval that holds for all attacks together), a TPR whose interval
lies above its FPR, and an extraction rate whose interval lies above the outsiders' interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from stillage.report.load import RunView, fpr_of
from stillage.types import Result

Tone = Literal["leak", "clear", "invalid", "unknown"]
CHANCE = 0.5
NAMES = {
    "student_counterfactual": "student, counterfactual",
    "student_no_teacher": "student, no teacher",
    "student_minimal": "student, asked for less",
    "loss_needed": "loss on the needed part",
    "teacher_counterfactual": "teacher, counterfactual",
    "min_k": "min-k",
    "min_k_plus_plus": "min-k++",
}
CONTROLS = {
    "student_counterfactual": "the same student from a teacher that never saw them",
    "student_no_teacher": "a student without that teacher",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The head of the report. badge: one or two words; headline: one sentence; detail: what else must be said at once."""

    badge: str
    tone: Tone
    headline: str
    detail: str = ""


def interval(row: Result | None, digits: int = 2) -> str:
    """A number with its interval: "0.96 [0.95, 0.97]"; "not measured" or "no value" where there is none."""
    if row is None:
        return "not measured"
    if math.isnan(row.value):
        return "no value"
    value = f"{row.value:.{digits}f}"
    return value if math.isnan(row.low) else f"{value} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


def percent(row: Result | None) -> str:
    """A share with its interval, in percent: "12.3 % [9.1, 16.0]"."""
    if row is None:
        return "not measured"
    if math.isnan(row.value):
        return "no value"
    value = f"{100 * row.value:.1f} %"
    return value if math.isnan(row.low) else f"{value} [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def words(name: str) -> str:
    """The name of a model, an attack or a check in running text."""
    return NAMES.get(name, name.replace("_", " "))


def subject(view: RunView) -> str:
    """The model the report is about: the student, or the teacher where there is no student with an audit."""
    audited = {row.model for row in view.results if row.metric == "auc"}
    pool = audited or set(view.models)
    return next((name for name in ("student", "teacher") if name in pool), next(iter(view.models), ""))


def leading_auc(view: RunView, model: str) -> Result | None:
    """The AUC that speaks for a model: the primary attack's; the best attack's only where that shows no leak and it does."""
    primary, best = view.result("auc", model, attack=view.primary_attack), view.result("best_attack_auc", model)
    shows = primary is not None and primary.low > CHANCE
    return best if not shows and best is not None and best.low > CHANCE else primary


def family(view: RunView, model: str) -> tuple[str, ...]:
    """The attacks that have an AUC on a model: those among which the best was chosen."""
    rows = ((name, view.result("auc", model, attack=name)) for name in view.attacks)
    return tuple(name for name, row in rows if row is not None and not math.isnan(row.value))


def best_words(view: RunView, model: str) -> str:
    """ "best of 7: zlib attack, p = 0.03"; empty where there is one attack, or the best was not tested."""
    found, names = view.result("best_attack_p", model), family(view, model)
    if found is None or len(names) < 2:
        return ""
    return f"best of {len(names)}: {words(found.attack)} attack, p = {found.value:.2g}"


def tail_leak(view: RunView, model: str) -> Result | None:
    """The TPR of the primary attack whose interval lies above its FPR (both limits), at the lowest such FPR."""
    found = []
    for row in view.results:
        if (row.metric, row.model, row.attack) != ("tpr_at_fpr", model, view.primary_attack):
            continue
        achieved = view.result("achieved_fpr", model, attack=row.attack, fpr=fpr_of(row.note))
        limits = [fpr_of(row.note)]
        if achieved is not None:
            limits += [achieved.value, achieved.high]
        if row.low > max((x for x in limits if not math.isnan(x)), default=1.0):
            found.append(row)
    return min(found, key=lambda row: fpr_of(row.note), default=None)


def extraction_pair(view: RunView, model: str) -> tuple[Result | None, Result | None]:
    """(members' extraction rate, outsiders' rate: what guessing recites)."""
    return (
        view.result("extraction_rate", model, dataset="private"),
        view.result("extraction_rate", model, dataset="outsiders"),
    )


def recites(view: RunView, model: str) -> bool:
    """Does the model recite members above the outsiders' floor, intervals apart?"""
    members, outsiders = extraction_pair(view, model)
    return members is not None and outsiders is not None and members.low > outsiders.high


def name_of(view: RunView, model: str) -> str:
    """A model in the words of a sentence."""
    if model == "student":
        trained_here = "student" in view.summaries and str(view.setting("distill", "method", "kd")) != "sft"
        return "The student distilled on public data only" if trained_here else "The student"
    return "The teacher" if model == "teacher" else f"The model {model}"


def control_words(view: RunView, name: str) -> str:
    """A control in the words of a sentence; where nothing was trained it is the model that was given as a reference."""
    return CONTROLS[name] if "student" in view.summaries else "the reference model that was given"


def verdict(view: RunView) -> Verdict:
    """Badge, headline and detail of a run."""
    if not any(row.metric == "auc" and row.model != "blind" for row in view.results):
        return _unaudited(view)
    stated = str(view.validity.get("verdict", ""))
    if stated and stated != "valid":
        model = subject(view)
        return Verdict(
            badge=stated,
            tone="invalid",
            headline=_sentence(stated) + " " + str(view.validity.get("headline", "") or _failed_checks(view)),
            detail="The numbers below stand as measured, but do not show what the training leaked"
            f" ({words(model)}: AUC {interval(leading_auc(view, model))}).",
        )
    claim = _claim(view)
    if not stated:
        note = (
            "The split's validity was not checked (no audit/validity.json), so this may be a shift between the groups."
        )
        return replace(claim, badge=f"{claim.badge}, unchecked", detail=_joined(note, claim.detail))
    return claim


def _claim(view: RunView) -> Verdict:
    """The verdict on a valid split."""
    model = subject(view)
    auc = leading_auc(view, model)
    who = name_of(view, model)
    if auc is None or math.isnan(auc.value) or math.isnan(auc.low):
        why = "has no score" if auc is None or math.isnan(auc.value) else "has no interval (too few records)"
        return Verdict(
            badge="no finding", tone="unknown", headline=f"{who} {why}: nothing can be said about its leakage."
        )
    shown = f"AUC {interval(auc)}" + ("" if auc.attack == view.primary_attack else f" ({best_words(view, model)})")
    if auc.low > CHANCE:
        return _betrays(view, model, who, auc, shown)
    if auc.high < CHANCE:
        text = (
            f"{who} scores its outsiders above its members ({shown}): an inverted score or a shifted split, not a leak."
        )
        return Verdict(badge="below chance", tone="unknown", headline=text, detail=_others(view, model))
    return _at_chance(view, model, who, shown)


def _betrays(view: RunView, model: str, who: str, auc: Result, shown: str) -> Verdict:
    if model == "teacher":
        text = f"The teacher betrays the private records it was trained on: {shown}."
        return Verdict(badge="leaks", tone="leak", headline=text, detail=_others(view, model))
    controls = {name: view.result("auc", name, attack=auc.attack) for name in CONTROLS}
    rows = {name: row for name, row in controls.items() if row is not None and name != model}
    reached = [name for name, row in rows.items() if not stands_above(view, auc, row)]
    said = "; ".join(f"{control_words(view, name)}: {interval(row)}" for name, row in rows.items())
    if reached:
        text = f"{who} tells members from outsiders ({shown}), but not clearly better than a control: {said}."
        note = "The difference may be chance: what both share (data, split, base model) may explain the score."
        detail = _joined(note, _others(view, model))
        return Verdict(badge="unclear", tone="unknown", headline=text, detail=detail)
    still = " still" if "distilled" in who else ""
    text = f"{who}{still} betrays the teacher's private records: {shown}" + (f"; {said}." if said else ".")
    note = "" if rows else "Without a control (a student from a teacher that never saw them) the cause is not shown."
    return Verdict(badge="leaks", tone="leak", headline=text, detail=_joined(note, _others(view, model)))


def stands_above(view: RunView, auc: Result, control: Result) -> bool:
    """Does the student leak more than the control: by the paired test on the same records, or by intervals without one.

    The best of several attacks, picked by looking, has no paired test that allows for the choice.
    """
    if auc.metric == "auc" and control.model == "student_counterfactual":
        paired = view.result("attributable_leak", auc.model, attack=auc.attack)
        if paired is not None and not math.isnan(paired.low):
            return paired.low > 0
    return control.high < auc.low


def _at_chance(view: RunView, model: str, who: str, shown: str) -> Verdict:
    tail, recited = tail_leak(view, model), recites(view, model)
    if tail is not None:
        text = (
            f"{who} betrays a few private records: at {100 * fpr_of(tail.note):g} % false alarms {percent(tail)} of members"
            f" are found, though on average they look like outsiders ({shown})."
        )
        return Verdict(badge="leaks", tone="leak", headline=text, detail=_others(view, model))
    if recited:
        members, outsiders = extraction_pair(view, model)
        text = f"{who} recites {percent(members)} of private targets (outsiders: {percent(outsiders)}), though its {shown}."
        return Verdict(badge="leaks", tone="leak", headline=text, detail=_others(view, model, extraction=False))
    best = best_words(view, model)
    count = (
        f"none of {len(family(view, model))} attacks tells"
        if best
        else f"the {words(view.primary_attack)} attack does not tell"
    )
    shown, through = "; ".join(filter(None, (shown, best))), f"{who[0].lower()}{who[1:]}"
    text = f"No leak found: {count} the private records from outsiders through {through} ({shown})."
    return Verdict(badge="no leak found", tone="clear", headline=text, detail=_others(view, model))


def _others(view: RunView, model: str, *, extraction: bool = True) -> str:
    """The sentences after the headline: extraction, and the teacher's own AUC."""
    said = []
    members, outsiders = extraction_pair(view, model)
    if extraction and members is not None:
        verb = "recites" if recites(view, model) else "does not recite more than guessing would:"
        said.append(f"It {verb} {percent(members)} of members' targets (outsiders: {percent(outsiders)}).")
    teacher = view.result("auc", "teacher", attack=view.primary_attack)
    if model != "teacher" and teacher is not None:
        said.append(f"Its teacher: AUC {interval(teacher)}.")
    return " ".join(said)


def _unaudited(view: RunView) -> Verdict:
    quality = [(name, view.result("rouge_l", name)) for name in ("student", "teacher")]
    said = ", ".join(f"{name} {interval(row)}" for name, row in quality if row is not None)
    text = "This run was not audited: nothing is known about what its models leak."
    return Verdict(
        badge="not audited", tone="unknown", headline=text, detail=f"ROUGE-L on test records: {said}." if said else ""
    )


def _failed_checks(view: RunView) -> str:
    failed = [str(check.get("name", "?")) for check in view.validity.get("checks", ()) if not check.get("passed")]
    return f"Failed: {', '.join(words(name) for name in failed)}." if failed else ""


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:].rstrip(".") + "."


def _joined(*parts: str) -> str:
    return " ".join(part for part in parts if part)
