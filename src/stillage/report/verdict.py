"""What the run shows, in one sentence derived from its numbers.

A leak is said only of a claim (report/claims.py) that stands above every control model. Without a
control model the headline says that members are told apart, and what would show the cause. That
nothing was found is green only where every upper limit is harmless (report/absence.py).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from stillage.report.absence import absence, auc_limit, tail_limit
from stillage.report.claim_words import controls, meaning, name_of, recital_words, told
from stillage.report.claims import (
    TAILS,
    Claim,
    auc_claims,
    claims_of,
    family,
    own_controls,
    strongest_auc,
    subject,
    tail_claim,
)
from stillage.report.run_view import RunView
from stillage.report.wording import CHANCE, by_attack, interval, joined, percent, sentence, words

Tone = Literal["leak", "clear", "invalid", "unknown"]
UNDECIDED = "too few records to tell"
SHIFT = "cannot tell leakage from a difference of the groups"
REDRAW = (
    "Next: draw members and nonmembers from one pool, at random, or audit a control model beside "
    "this one (audit.reference), which shows how much the groups' own difference explains."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The head of the report."""

    badge: str  # one or two words
    tone: Tone = "unknown"
    headline: str  # one sentence
    detail: str = ""  # what else must be said at once


def verdict(view: RunView) -> Verdict:
    """Judge a run."""
    if not any(row.model != "blind" for row in view.rows("auc")):
        return _unaudited(view)
    stated = str(view.validity.get("verdict", ""))
    if stated and stated != "valid":
        return _not_valid(view, stated)
    claim = _claim(view)
    if not stated:
        note = (
            "The split's validity was not checked (no audit/validity.json), so this may be a shift "
            "between the groups."
        )
        tone: Tone = "unknown" if claim.tone == "clear" else claim.tone
        return replace(
            claim, badge=f"{claim.badge}, unchecked", tone=tone, detail=joined(note, claim.detail)
        )
    return claim


def _not_valid(view: RunView, stated: str) -> Verdict:
    """Judge a split whose checks failed, or could not have seen anything."""
    model = subject(view)
    strongest = strongest_auc(view, model)
    shown = view.called(model) + (f": {by_attack(strongest)}" if strongest is not None else "")
    headline = f"{sentence(stated)} {view.validity.get('headline') or _failed_checks(view)}"
    undecided = stated == UNDECIDED
    why = (
        "whether members and nonmembers differ by themselves could not be told, so that they "
        if undecided
        else ""
    )
    detail = (
        f"The numbers below stand as measured, but {why}do not show what the training leaked "
        f"({shown})."
    )
    if undecided:
        detail = joined(detail, _needed_for_absence(view, model))
    if stated == SHIFT and not view.validity.get("drawn_by_us"):
        detail = joined(detail, REDRAW)
    tone: Tone = "unknown" if undecided else "invalid"
    return Verdict(badge=stated, tone=tone, headline=headline, detail=" ".join(detail.split()))


def _needed_for_absence(view: RunView, model: str) -> str:
    """Say how many records a finding of no leak would take, if that is known."""
    needed = max(auc_limit(view, model).needed, tail_limit(view, model).needed)
    enough = f"{needed:,} members and as many nonmembers"
    return f'A "no leak found" would take about {enough}, where nothing leaks.' if needed else ""


def _claim(view: RunView) -> Verdict:
    """Judge a run with a valid split."""
    model = subject(view)
    who, claims = name_of(view, model), claims_of(view, model)
    aucs = auc_claims(view, model)
    if not aucs:
        row = strongest_auc(view, model)
        has_score = row is not None and not math.isnan(row.value)
        why = "has no interval (too few records)" if has_score else "has no score"
        text = f"{who} {why}: nothing can be said about its leakage."
        return Verdict(badge="no finding", headline=text)
    found = next((claim for claim in claims if claim.is_attributed), None)
    if found is not None:
        text = f"{told(view, model, who, found, leaks=True)}{controls(view, found)}."
        others = _others(view, model, found)
        return Verdict(badge="leaks", tone="leak", headline=text, detail=others)
    shown = [claim for claim in claims if claim.shows]
    if shown:
        return _unattributed(view, model, who, max(shown, key=lambda claim: bool(claim.against)))
    if all(claim.row.high < CHANCE for claim in aucs):
        text = (
            f"{who} scores its nonmembers above its members ({by_attack(aucs[0].row)}): an "
            "inverted score or a shifted split, not a leak."
        )
        others = _others(view, model, aucs[0])
        return Verdict(badge="below chance", headline=text, detail=others)
    return _nothing_found(view, model, who, aucs[0])


def _unattributed(view: RunView, model: str, who: str, shown: Claim) -> Verdict:
    """Judge where members are told apart, but nothing shows that the training is the cause."""
    said, others = told(view, model, who, shown, leaks=False), _others(view, model, shown)
    if shown.against and shown.is_above_all:
        names = " and ".join(view.called(other.row.model) for other in shown.against)
        text = (
            f"{said}. What caused it is not known: {names} stays below, but reads such texts worse."
        )
        note = (
            "A difference between the groups that only a better reader sees would look the same: "
            "what needs it is a control from the same recipe (audit.counterfactual in a run that "
            "trains) or a reference that reads as well."
        )
        return Verdict(badge="tells apart", headline=text, detail=joined(note, others))
    if shown.against:
        reached = controls(view, shown, only_reached=True)
        text = f"{said}, but not clearly better than a control{reached}."
        note = (
            "The difference may be chance: what both share (data, split, base model) may explain "
            "the score."
        )
        return Verdict(badge="unclear", headline=text, detail=joined(note, others))
    without = "the same teacher without them"
    kind = without if model == "teacher" else "a student from a teacher that never saw them"
    more = " that this attack can be run on" if own_controls(view, model) else ""
    text = (
        f"{said}. What caused it, {kind} or a reference model would show: no such control{more} "
        "was audited."
    )
    note = (
        "To have one, leave audit.counterfactual on in a run that trains, or name a model with "
        "audit.reference."
    )
    return Verdict(badge="tells apart", headline=text, detail=joined(note, others))


def _nothing_found(view: RunView, model: str, who: str, strongest: Claim) -> Verdict:
    """Judge where nothing was found, by what would have been."""
    row, names = strongest.row, family(view, model)
    count = f"the {words(row.attack)} attack does not tell"
    if row.metric == "best_attack_auc":
        count = f"none of {len(names)} attacks tells"
    through = f"{who[0].lower()}{who[1:]}"
    found = absence(view, model)
    detail = joined(found.detail, _others(view, model, strongest))
    text = (
        f"{count} the private records from nonmembers through {through}; "
        f"{meaning(view, model, row)}."
    )
    if found.too_few:
        headline = f"No leak found, but too few records to tell: {text}"
        return Verdict(badge=UNDECIDED, headline=headline, detail=joined(found.too_few, detail))
    tone: Tone = "clear" if found.is_shown else "unknown"
    headline = f"No leak found: {text}"
    return Verdict(badge="no leak found", tone=tone, headline=headline, detail=detail)


def _others(view: RunView, model: str, said: Claim) -> str:
    """Write the sentences after the headline: tail, recital, the teacher."""
    tail, parts = tail_claim(view, model), []
    if tail is not None and tail.is_attributed and said.row.metric not in TAILS:
        parts.append(
            f"At {100 * tail.row.fpr:g} % false alarms it gives away {percent(tail.row)} of members"
            f" ({words(tail.row.attack)} attack)."
        )
    if said.row.metric != "extraction_rate":
        parts.append(recital_words(view, model))
    teacher = strongest_auc(view, "teacher") if model != "teacher" else None
    if teacher is not None:
        parts.append(f"Its teacher: {by_attack(teacher)}.")
    return joined(*parts)


def _unaudited(view: RunView) -> Verdict:
    quality = [(name, view.result("rouge_l", name)) for name in ("student", "teacher")]
    said = ", ".join(f"{name} {interval(row)}" for name, row in quality if row is not None)
    text = "This run was not audited: nothing is known about what its models leak."
    detail = f"ROUGE-L on test records: {said}." if said else ""
    return Verdict(badge="not audited", headline=text, detail=detail)


def _failed_checks(view: RunView) -> str:
    checks = (check for check in view.validity.get("checks", ()) if not check.get("passed"))
    failed = ", ".join(words(str(check.get("name", "?"))) for check in checks)
    return f"Failed: {failed}." if failed else ""
