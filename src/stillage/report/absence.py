"""What follows where nothing was found: the smallest leak that would have been."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stillage.report.claims import claims_of, family
from stillage.report.run_view import RunView
from stillage.report.wording import joined, sentence, words
from stillage.run.audit_config import AuditConfig
from stillage.types import Result

HARMLESS_AUC, HARMLESS_TPR = AuditConfig.harmless_auc, AuditConfig.harmless_tpr
"""Harmless where audit.harmless_auc and audit.harmless_tpr are not set."""
NOT_COMPUTED = (
    "The smallest leak that this audit would have found was not computed, so that its silence "
    "shows little."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """An upper limit in words, and whether it is harmless."""

    said: str
    is_harmless: bool
    needed: int  # records of each side that would do; 0: not known


@dataclass(frozen=True, slots=True, kw_only=True)
class Absence:
    """What it shows that nothing was found, in sentences."""

    is_shown: bool  # every upper limit is harmless, and what would have been found is known
    too_few: str  # the limits that are not harmless, and how many records would do; or empty
    detail: str  # the smallest leak that would have been found, and whether the teacher's was


def absence(view: RunView, model: str) -> Absence:
    """Judge what the failure of every attack on a model shows."""
    limits = (auc_limit(view, model), tail_limit(view, model), *recital_limits(view, model))
    over = [limit for limit in limits if not limit.is_harmless]
    said = sentence("; ".join(limit.said for limit in over)) if over else ""
    if over and all(limit.needed for limit in over):
        needed = max(limit.needed for limit in over)
        said += f" About {needed:,} members and as many nonmembers would do where nothing leaks."
    smallest, teacher = smallest_words(view, model), silent_teacher_words(view, model)
    return Absence(
        is_shown=not over and bool(smallest) and not teacher,
        too_few=said,
        detail=joined(smallest or NOT_COMPUTED, teacher),
    )


def auc_limit(view: RunView, model: str) -> Limit:
    """Find the highest upper limit of all AUCs, at the level that holds for all."""
    harmless, wider = (
        float(view.setting("audit", "harmless_auc", HARMLESS_AUC)),
        widening(view, model),
    )
    aucs = (view.result("auc", model, attack=name) for name in family(view, model))
    limits = [(upper_limit(row, wider), row.attack) for row in aucs if row is not None]
    highest, attack = max(limits, default=(1.0, view.primary_attack))
    over = [name for high, name in limits if not high < harmless]
    needed = max(
        (needed_of(view.result("detectable_auc", model, attack=name)) for name in over), default=0
    )
    said = (
        f"the AUC may be as high as {highest:.2f} ({words(attack)} attack), and harmless is below "
        f"{harmless:g}"
    )
    return Limit(said=said, is_harmless=highest < harmless, needed=needed)


def upper_limit(row: Result, wider: float) -> float:
    """Move an AUC's upper limit away from it on the logit scale, so many times as far."""
    if math.isnan(row.high) or row.high >= 1:
        return 1.0
    from scipy.special import expit, logit

    value, high = (logit(min(max(share, 1e-9), 1 - 1e-9)) for share in (row.value, row.high))
    return float(expit(value + wider * (high - value)))


def widening(view: RunView, model: str) -> float:
    """Tell how many times as far out limits for all attacks lie as each attack's own.

    At the level that audit/detectable.py reckons with; Bonferroni's where the run has none.
    """
    from scipy.special import ndtri

    known = [row.level for row in view.rows("detectable_auc", model=model)]
    together = max(known, default=1 - (1 - view.level) / max(1, len(family(view, model))))
    return max(1.0, float(ndtri((1 + together) / 2) / ndtri((1 + view.level) / 2)))


def tail_limit(view: RunView, model: str) -> Limit:
    """Find the highest upper limit of the members found at the lowest FPR.

    Of the attack that was named first alone, where those for all attacks were not computed.
    """
    harmless = float(view.setting("audit", "harmless_tpr", HARMLESS_TPR))
    together = view.rows("family_tpr", model=model)
    if together:
        found = max(together, key=lambda row: row.high)
        over = [row for row in together if not row.high < harmless]
        needed = max(map(needed_of, over), default=0)
    else:
        own = view.rows("tpr_at_fpr", model=model, attack=view.primary_attack)
        found = min(own, key=lambda row: row.fpr, default=None)
        needed = needed_of(view.result("detectable_tpr", model, attack=view.primary_attack))
    if found is None or math.isnan(found.high):
        at = "few" if found is None else f"{100 * found.fpr:g} %"
        return Limit(
            said=f"the share of members found at {at} false alarms could not be measured",
            is_harmless=False,
            needed=needed,
        )
    by = f" ({words(found.attack)} attack)" if together else ""
    said = (
        f"up to {100 * found.high:.1f} % of members may be found at {100 * found.fpr:g} % false "
        f"alarms{by}, and harmless is below {100 * harmless:g} %"
    )
    return Limit(said=said, is_harmless=found.high < harmless, needed=needed)


def recital_limits(view: RunView, model: str) -> tuple[Limit, ...]:
    """Find the upper limit of what is recited of members beyond nonmembers.

    None where nothing was to be recited. needed: the records of each side that keep the limit below
    what is harmless where none of them is recited; not known where so many were not enough.
    """
    row = view.result("extraction_beyond_nonmembers", model)
    if row is None:
        return ()
    harmless = float(view.setting("audit", "harmless_tpr", HARMLESS_TPR))
    needed = math.ceil(math.log((1 - row.level) / 2) / math.log1p(-harmless))
    said = (
        f"up to {100 * row.high:.1f} % more may be recited of members than of nonmembers, and "
        f"harmless is below {100 * harmless:g} %"
    )
    is_known = 2 * needed > row.n
    return (Limit(said=said, is_harmless=row.high < harmless, needed=needed if is_known else 0),)


def smallest_words(view: RunView, model: str) -> str:
    """Say the smallest leak that the primary attack would have found, if known."""
    auc, tpr = (
        view.result(name, model, attack=view.primary_attack)
        for name in ("detectable_auc", "detectable_tpr")
    )
    if auc is None and tpr is None:
        return ""
    said = []
    if auc is not None and not math.isnan(auc.value):
        said.append(f"an AUC of {auc.value:.2f}")
    if tpr is not None and not math.isnan(tpr.value):
        said.append(f"{100 * tpr.value:.1f} % of members at {100 * tpr.fpr:g} % false alarms")
    if not said:
        return "No leak at all would have been found in so few records."
    return (
        f"Of leaks like these the {words(view.primary_attack)} attack would have found 4 in 5: "
        f"{' or '.join(said)}."
    )


def silent_teacher_words(view: RunView, model: str) -> str:
    """Say that the audit saw nothing in the teacher either, where it was audited."""
    claims = () if model == "teacher" else claims_of(view, "teacher")
    if not claims or any(claim.shows for claim in claims):
        return ""
    return (
        "This audit saw no leak in the teacher either, so that it shows little about the student."
    )


def needed_of(row: Result | None) -> int:
    """Tell how many records of each side would do; 0: not known, or none would."""
    return row.needed if row is not None else 0
