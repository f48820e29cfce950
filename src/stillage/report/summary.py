"""The run in a few lines, for the terminal."""

from __future__ import annotations

from stillage.report.exposure import exposure_words
from stillage.report.left_out import left_out_line
from stillage.report.load import RunView
from stillage.report.tables import models_table, rates
from stillage.report.verdict import Verdict, extraction_pair, interval, percent, words

LINES = 9
MOST_MODELS = 5


def summary_lines(view: RunView, judged: Verdict, *, title: str) -> list[str]:
    """Title, headline, validity, a line per model, attacks left out, extraction of the student."""
    lines = [f"{title}: {judged.badge}", judged.headline]
    if view.validity:
        checks = view.validity.get("checks", [])
        passed = sum(bool(check.get("passed")) for check in checks)
        lines.append(f"split: {view.validity.get('verdict', 'unknown')} ({passed} of {len(checks)} checks passed)")
    names = view.models
    width = max((len(words(name)) for name in names), default=0)
    without = left_out_line(view)
    most = MOST_MODELS - bool(without)
    lines += [f"  {words(name):{width}}  {model_line(view, name)}".rstrip() for name in names[:most]]
    if len(names) > most:
        lines[-1] = f"  ... and {len(names) - most + 1} more models, in the report"
    lines += [without] if without else []
    members, outsiders = extraction_pair(view, "student")
    if members is not None:
        exposed = exposure_words(view, "student")
        said = f"the student recites {percent(members)} of members' targets (outsiders: {percent(outsiders)})"
        lines.append(said + (f"; {exposed}" if exposed else ""))
    assert len(lines) <= LINES, lines
    return lines


def model_line(view: RunView, model: str) -> str:
    """A model's quality and leakage in one line; falls back to how it was trained."""
    parts = []
    quality = view.result("rouge_l", model)
    if quality is not None:
        parts.append(f"ROUGE-L {interval(quality, 3)}")
    auc = view.result("auc", model, attack=view.primary_attack)
    if auc is not None:
        parts.append(f"AUC {interval(auc)}")
    for fpr in rates(view)[-1:]:
        found = view.result("tpr_at_fpr", model, attack=view.primary_attack, fpr=fpr)
        if found is not None:
            parts.append(f"TPR at {100 * fpr:g} % FPR {percent(found)}")
    return "  ".join(parts) if parts else _trained(view, model)


def _trained(view: RunView, model: str) -> str:
    row = next(row for row in models_table(view).rows if row[0].text == words(model))
    return f"{row[1].text}, trained on {row[2].text}"
