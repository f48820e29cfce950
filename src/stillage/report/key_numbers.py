"""The numbers of the page's header, the strongest attack first."""

from __future__ import annotations

import math
from dataclasses import dataclass

from stillage.report.cells import thousands
from stillage.report.claim_words import target_words
from stillage.report.claims import extraction_pair, family, strongest_auc, subject
from stillage.report.run_view import RunView
from stillage.report.wording import interval, percent, words
from stillage.types import Result

MOST = 5
UNAUDITED = (
    ("Exact match", "exact_match", 2),
    ("Perplexity", "perplexity", 1),
    ("Bits per byte", "bits_per_byte", 2),
)
"""What is shown beside ROUGE-L where nothing was audited: label, metric, digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNumber:
    """One of the numbers of the header."""

    label: str
    value: str
    small: str
    note: str


def key_numbers(view: RunView) -> tuple[KeyNumber, ...]:
    """Choose up to MOST numbers of the report's subject.

    AUCs, TPR at the lowest FPR, extraction, quality; without an audit other numbers of quality, and
    without any the sizes of the parts.
    """
    model = subject(view)
    found = [*auc_keys(view, model), *tail_keys(view, model), *recital_keys(view, model)]
    measured = [] if found else UNAUDITED
    found += quality_keys(view, model)
    rows = [(label, view.result(metric, model), digits) for label, metric, digits in measured]
    note = f"{view.called(model)}, test records"
    found += [key(label, interval(row, digits), note) for label, row, digits in rows if row]
    counts = sorted(view.split.get("counts", {}).items(), key=lambda item: -float(item[1]))[:4]
    return tuple(found[:MOST]) or tuple(
        key(f"{part} records", thousands(count), "") for part, count in counts
    )


def auc_keys(view: RunView, model: str) -> list[KeyNumber]:
    """Show the strongest attack's AUC, and the primary attack's if another."""
    strongest = strongest_auc(view, model)
    if strongest is None:
        return []
    primary = view.result("auc", model, attack=view.primary_attack)
    tested, count = view.result("best_attack_p", model), len(family(view, model))
    chosen = ""
    if strongest.metric == "best_attack_auc" and tested is not None:
        allows = f"the interval allows for the choice among {count} attacks, the table's does not"
        chosen = f", strongest of {count}, p = {tested.value:.2g}; {allows}"
    found = [auc_key(strongest, f"{view.called(model)}{chosen}; 0.5 is chance")]
    if primary is not None and primary.attack != strongest.attack:
        found.append(auc_key(primary, f"{view.called(model)}, the attack that was named first"))
    return found


def auc_key(row: Result, note: str) -> KeyNumber:
    """Show an AUC under the name of its attack."""
    return key(f"AUC, {words(row.attack)} attack", interval(row), note)


def tail_keys(view: RunView, model: str) -> list[KeyNumber]:
    """Show the members found at the lowest FPR that has a value, or why none has."""
    rows = view.rows("tpr_at_fpr", model=model, attack=view.primary_attack)
    rows.sort(key=lambda row: (math.isnan(row.value), row.fpr))
    if not rows:
        return []
    row, lowest = rows[0], min(rows, key=lambda row: row.fpr)
    note = f"share of members, {words(row.attack)} attack"
    if lowest is not row:
        note += f"; at {100 * lowest.fpr:g} % FPR {percent(lowest)}"
    return [key(f"Found at {100 * row.fpr:g} % FPR", percent(row), note)]


def recital_keys(view: RunView, model: str) -> list[KeyNumber]:
    """Show the share of members whose target is recited, and of nonmembers."""
    members, nonmembers = extraction_pair(view, model)
    if members is None:
        return []
    floor = f"; nonmembers {percent(nonmembers).partition(' [')[0]}" if nonmembers else ""
    return [key("Recited", percent(members), f"members: {target_words(view)}{floor}")]


def quality_keys(view: RunView, model: str) -> list[KeyNumber]:
    """Show how good the model is: the needed part where there is one, else ROUGE-L."""
    note = f"{view.called(model)}, test records"
    needed, alone = (view.result("needed_exact", name) for name in (model, "student_no_teacher"))
    quality = view.result("rouge_l", model)
    if needed is not None:
        if alone and model == "student":
            note += f"; without a teacher {percent(alone).partition(' [')[0]}"
        return [key("Needed part right", percent(needed), note)]
    if quality is None:
        return []
    teacher = view.result("rouge_l", "teacher") if model != "teacher" else None
    note += f"; teacher {teacher.value:.2f}" if teacher else ""
    return [key("ROUGE-L", interval(quality), note)]


def key(label: str, shown: str, note: str) -> KeyNumber:
    """Split a number from its interval, the small line, or from its reason."""
    shown, _, why = shown.partition(" (")
    note = f"{why.rstrip(')')}; {note}" if why else note
    value, _, rest = shown.partition(" [")
    return KeyNumber(label=label, value=value, small=f"[{rest}" if rest else "", note=note)
