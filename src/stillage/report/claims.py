"""What a model shows of the members, and whether it stands above its controls.

The claims: the AUC of the strongest attack (the interval that holds for all attacks together), that
of the attack that was named first, the share that each of the two finds at few false alarms, and
the share recited. Each first has to lie above its own floor (chance, the false alarms, what is
recited of nonmembers), and then above every control on the same records, by a test. A control that
reads such texts worse than the model says nothing of what only a better reader sees.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from stillage.audit.control_models import CLEAN, CLEAN_TEACHER, CONTROLS_OF, OF_STUDENTS, OUTSIDE
from stillage.report.run_view import RunView
from stillage.report.wording import CHANCE
from stillage.types import Result

TAILS = ("tpr_at_fpr", "family_tpr")
"""Shares of members found: with an attack's own limits, and with those for all attacks together."""
AS_WELL = 1.1
"""A control reads as well up to this many times the model's bits for a byte of a nonmember."""
PAIRED = ("auc_beyond_control", "attributable_leak")
"""Differences of AUCs on the same records; the second: student against its counterfactual."""
BEYOND, BEYOND_RECITED = ("tpr_beyond_control",), ("extraction_beyond_control",)
"""Differences of the shares found and recited."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """A control's number, and whether the model is shown to stand above it."""

    row: Result
    is_above: bool
    reads_as_well: bool = True  # does it read texts that neither met about as well as the model?


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A number of a model, beside its floor and its controls."""

    row: Result
    shows: bool  # it lies above its floor
    against: tuple[Against, ...]  # the controls that have that number too
    by_draw: bool = False  # members and nonmembers differ in the training alone: a draw of this run

    @property
    def is_attributed(self) -> bool:
        """Whether the training left it: a draw, or controls that stay below, say so."""
        return self.is_above_all and (
            self.by_draw or any(other.reads_as_well for other in self.against)
        )

    @property
    def is_above_all(self) -> bool:
        """Whether it stands above its floor and every control."""
        return self.shows and all(other.is_above for other in self.against)


def subject(view: RunView) -> str:
    """Name the model that the report is about: the student, else the teacher."""
    pool = {row.model for row in view.rows("auc")} or set(view.models)
    return next((name for name in ("student", "teacher") if name in pool), "".join(view.models[:1]))


def own_controls(view: RunView, model: str) -> tuple[str, ...]:
    """List the audited models that met neither the model's members nor its teacher."""
    others = (name for name in CONTROLS_OF.get(model, OF_STUDENTS) if name != model)
    return tuple(name for name in others if view.rows("auc", model=name))


def is_randomised(view: RunView, model: str) -> bool:
    """Tell whether a draw of this run decided who was a member of its training.

    Then nothing but its training can tell the two apart, and the draw itself is the control. A
    student's way to the members is longer; for it a control model is asked.
    """
    drawn = view.validity.get("drawn_by_us", view.split.get("drawn_by_us", False))
    return (
        model == "teacher"
        and bool(drawn)
        and model in view.summaries
        and view.validity.get("verdict") == "valid"
    )


def reads_as_well(view: RunView, model: str, control: str) -> bool:
    """Tell whether a control reads unmet texts about as well as the model.

    By their bits per byte on nonmembers; a model from the same recipe does. Where that was not
    measured, one from elsewhere is taken not to.
    """
    if control in (CLEAN, CLEAN_TEACHER):
        return True
    own, other = (view.result("nonmember_bits_per_byte", name) for name in (model, control))
    if own is None or other is None or math.isnan(own.value) or math.isnan(other.value):
        return control != OUTSIDE
    return other.value <= AS_WELL * own.value


def family(view: RunView, model: str) -> tuple[str, ...]:
    """The attacks that have an AUC on a model: those among which the best was chosen."""
    rows = ((name, view.result("auc", model, attack=name)) for name in view.attacks)
    return tuple(name for name, row in rows if row is not None and not math.isnan(row.value))


def strongest_auc(view: RunView, model: str) -> Result | None:
    """Find the best attack's AUC, with limits that hold for all attacks together.

    The primary attack's where none was chosen.
    """
    best = view.result("best_attack_auc", model)
    if best is None or math.isnan(best.value) or len(family(view, model)) < 2:
        return view.result("auc", model, attack=view.primary_attack)
    return best


def auc_claims(view: RunView, model: str) -> tuple[Claim, ...]:
    """Claim the strongest attack's AUC, then the primary attack's.

    One where they are the same row, or only one has a value.
    """
    rows = (strongest_auc(view, model), view.result("auc", model, attack=view.primary_attack))
    found = {
        (row.metric, row.attack): row for row in rows if row is not None and not math.isnan(row.low)
    }
    return tuple(auc_claim(view, row) for row in found.values())


def auc_claim(view: RunView, row: Result) -> Claim:
    """Set an AUC beside the same attack's on the controls."""
    others = [view.result("auc", name, attack=row.attack) for name in own_controls(view, row.model)]
    return claim_beside(
        view, row, row.low > CHANCE, others, lambda other: auc_above(view, row, other)
    )


def claim_beside(
    view: RunView,
    row: Result,
    shows: bool,
    controls: Iterable[Result | None],
    is_above: Callable[[Result], bool],
) -> Claim:
    """Claim a number beside the same one of each control that has it."""
    against = tuple(
        Against(
            row=other,
            is_above=is_above(other),
            reads_as_well=reads_as_well(view, row.model, other.model),
        )
        for other in controls
        if other is not None
    )
    return Claim(row=row, shows=shows, against=against, by_draw=is_randomised(view, row.model))


def auc_above(view: RunView, row: Result, control: Result) -> bool:
    """Tell whether an AUC is above a control's.

    By the paired test on the same records, or by intervals apart where there is none. The attack
    that was named first is tested alone; one that was picked among several by the p that allows for
    all.
    """
    paired = difference(view, PAIRED, row, control, attack=row.attack)
    if paired is None or math.isnan(paired.low):
        return row.low > control.high
    return paired.low > 0 and (row.attack == view.primary_attack or is_sure(paired))


def tail_claim(view: RunView, model: str) -> Claim | None:
    """Claim the share of members found at few false alarms; None without one.

    Under the primary attack, at the lowest FPR that shows most; and under the attack that finds
    most at the lowest FPR, with limits that hold for all attacks together (family_tpr). It shows
    something where its interval lies above the false-positive rate, as asked for and as it was
    (both limits).
    """
    own = view.rows("tpr_at_fpr", model=model, attack=view.primary_attack)
    rows = sorted((row for row in own if not math.isnan(row.low)), key=lambda row: row.fpr)
    most = max(view.rows("family_tpr", model=model), key=lambda row: row.low, default=None)
    rows += [most] if most is not None and most.attack != view.primary_attack else []
    claims = [tail_at(view, row) for row in rows]
    return max(claims, key=lambda claim: (claim.is_attributed, claim.shows), default=None)


def tail_at(view: RunView, row: Result) -> Claim:
    """The share found at one FPR, beside the same attack's on the controls.

    By the paired test where there is one (of the primary attack), else by intervals apart.
    """
    fpr = row.fpr
    achieved = view.result("achieved_fpr", row.model, attack=row.attack, fpr=fpr)
    limits = [fpr, *((achieved.value, achieved.high) if achieved is not None else ())]
    shows = row.low > max((x for x in limits if not math.isnan(x)), default=1.0)
    others = [
        view.result(row.metric, name, attack=row.attack, fpr=fpr)
        for name in own_controls(view, row.model)
    ]

    def is_above(other: Result) -> bool:
        return share_above(
            row, other, difference(view, BEYOND, row, other, attack=row.attack, fpr=fpr)
        )

    return claim_beside(view, row, shows, others, is_above)


def extraction_pair(view: RunView, model: str) -> tuple[Result | None, Result | None]:
    """Find the extraction rate of members, and of nonmembers: what guessing recites."""
    return (
        view.result("extraction_rate", model, dataset="private"),
        view.result("extraction_rate", model, dataset="nonmembers"),
    )


def recital_claim(view: RunView, model: str) -> Claim | None:
    """Claim the share of members' targets recited, above the nonmembers' floor.

    By a permutation test, or by intervals apart where that was not made.
    """
    members, nonmembers = extraction_pair(view, model)
    if members is None or nonmembers is None or math.isnan(members.value):
        return None
    more = view.result("extraction_beyond_nonmembers", model)
    shows = members.low > nonmembers.high if more is None else more.p <= (1 - more.level) / 2
    others = [extraction_pair(view, name)[0] for name in own_controls(view, model)]

    def is_above(other: Result) -> bool:
        return share_above(members, other, difference(view, BEYOND_RECITED, members, other))

    return claim_beside(view, members, shows, others, is_above)


def share_above(row: Result, control: Result, paired: Result | None) -> bool:
    """Tell whether a share is above a control's.

    By the paired test, Holm over all made, or by intervals apart without one.
    """
    return row.low > control.high if paired is None else paired.value > 0 and is_sure(paired)


def difference(
    view: RunView, metrics: Sequence[str], row: Result, control: Result, **columns: object
) -> Result | None:
    """Find the test of a model against a control on the same records."""
    asked = {"model": row.model, "against": control.model, **columns}
    rows = (found for metric in metrics for found in view.rows(metric, **asked))
    return next(rows, None)


def is_sure(row: Result) -> bool:
    """Tell whether a difference is more than luck, over all that were tested."""
    return row.low > 0 if math.isnan(row.p_adjusted) else row.p_adjusted <= 1 - row.level


def claims_of(view: RunView, model: str) -> tuple[Claim, ...]:
    """Make every claim about a model, in the order in which the headline takes them."""
    others = (tail_claim(view, model), recital_claim(view, model))
    return (*auc_claims(view, model), *(claim for claim in others if claim is not None))
