"""The run in a few lines, for the terminal."""

from __future__ import annotations

from stillage.report.claim_words import recited_shares
from stillage.report.claims import extraction_pair
from stillage.report.exposure_table import exposure_words
from stillage.report.gain_tables import gain_words, minimal_words
from stillage.report.left_out_table import left_out_line
from stillage.report.run_view import RunView
from stillage.report.tables import asked_fprs, method_of, training_part
from stillage.report.verdict import Verdict
from stillage.report.wording import interval, percent, words
from stillage.report.worst_group import group_words

LINES = 10
"""With the path of the page, which the command line adds, there are eleven at most."""


def summary_lines(view: RunView, judged: Verdict, *, title: str) -> list[str]:
    """Write the run in LINES lines at most.

    Title, headline and what must be said of it, worst group, both halves, a line per model,
    recital. The models give way where there are too many, in reading order.
    """
    lines = [f"{title}: {judged.badge}{checked(view)}", judged.headline]
    if judged.tone != "leak" and judged.detail:
        lines.append(judged.detail)  # what would show a cause, or what would have been found
    lines += [said for said in (group_words(view), gain_words(view), minimal_words(view)) if said]
    last = [line for line in (left_out_line(view), recited_line(view)) if line]
    names = view.models
    width = max((len(view.called(name)) for name in names), default=0)
    most = LINES - len(lines) - len(last)
    if len(names) > most and last:
        del last[-1]  # what is recited is the first thing that the page can say alone
        most += 1
    lines += [
        f"  {view.called(name):{width}}  {model_line(view, name)}".rstrip() for name in names[:most]
    ]
    if len(names) > most:
        lines[-1] = f"  ... and {len(names) - most + 1} more models, in the report"
    lines += last
    assert len(lines) <= LINES, lines
    return lines


def checked(view: RunView) -> str:
    """Say how many checks passed: "; split valid, 7 of 8 checks passed"."""
    if not view.validity:
        return ""
    checks = view.validity.get("checks", [])
    open_ = sum(bool(check.get("undecided") or check.get("says_nothing")) for check in checks)
    passed = sum(bool(check.get("passed")) for check in checks) - open_
    split = view.validity.get("verdict", "unknown")
    said = f"; split {split}, {passed} of {len(checks)} checks passed"
    return said + (f", {open_} could not tell" if open_ else "")


def recited_line(view: RunView) -> str:
    """Say what the student recites of members, and its exposure."""
    if extraction_pair(view, "student")[0] is None:
        return ""
    exposed = exposure_words(view, "student")
    said = f"the student recites {recited_shares(view, 'student')}"
    return said + (f"; {exposed}" if exposed else "")


def model_line(view: RunView, model: str) -> str:
    """Write a model's quality and leakage in one line, or how it was trained."""
    parts = []
    needed, quality = view.result("needed_exact", model), view.result("rouge_l", model)
    if needed is not None:
        parts.append(f"right {percent(needed)}")
    elif quality is not None:
        parts.append(f"ROUGE-L {interval(quality, 3)}")
    auc = view.result("auc", model, attack=view.primary_attack)
    if auc is not None:
        parts.append(f"AUC {interval(auc)} ({words(auc.attack)})")
    for fpr in asked_fprs(view)[-1:]:
        found = view.result("tpr_at_fpr", model, attack=view.primary_attack, fpr=fpr)
        if found is not None:
            parts.append(f"TPR at {100 * fpr:g} % FPR {percent(found)}")
    trained = f"{method_of(view, model)}, trained on {training_part(view, model)}"
    return "  ".join(parts) or trained
