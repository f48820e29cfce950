"""The main tables: models and quality, membership, extraction, blind attackers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from stillage.report.cells import (
    DASH,
    Cell,
    Table,
    auc_cell,
    level_words,
    number,
    share,
    table_of,
    thousands,
)
from stillage.report.run_view import RunView
from stillage.report.wording import words
from stillage.types import Result

QUALITY = {  # metric -> heading, digits
    "needed_exact": ("needed part exact", 3),
    "rouge_l": ("ROUGE-L", 3),
    "rouge_l_published": ("ROUGE-L as published", 3),
    "exact_match": ("exact match", 3),
    "bleu": ("BLEU", 1),
    "chrf": ("chrF", 1),
    "perplexity": ("perplexity", 2),
    "bits_per_byte": ("bits/byte", 3),
}
OVERLAP = ("bleu", "chrf")
PUBLISHED = "rouge_l_published"
SOMETIMES = (*OVERLAP, "needed_exact", PUBLISHED)
"""Columns left out where not measured, or where the published number is the one beside it."""


def models_table(view: RunView) -> Table | None:
    """Tabulate who was trained how, on what, and how good it is."""
    measured = {row.metric for row in view.results if row.metric != PUBLISHED or differs(view, row)}
    quality = {
        name: shown for name, shown in QUALITY.items() if name in measured or name not in SOMETIMES
    }
    rows = [
        {
            "model": view.called(name),
            "method": method_of(view, name),
            "trained on": training_part(view, name),
            "parameters": thousands(view.parameters.get(name)),
            **{
                heading: number(view.result(metric, name), digits)
                for metric, (heading, digits) in quality.items()
            },
        }
        for name in view.models
    ]
    note = f"ROUGE-L and exact match run from 0 to 1; {level_words(view)}."
    signatures = {name: row.signature for name in OVERLAP for row in view.rows(name)[:1]}
    overlap = [f"{QUALITY[name][0]} {said}" for name, said in signatures.items() if said]
    if overlap:
        note += f" Over the whole corpus, 0 to 100, by sacrebleu: {'; '.join(overlap)}."
    return table_of("Training and quality on test records", rows, note, heads=3)


def differs(view: RunView, published: Result) -> bool:
    """Tell whether the published ROUGE-L of a model is a number of its own."""
    ours = view.result("rouge_l", published.model)
    return ours is None or ours.value != published.value


def method_of(view: RunView, model: str) -> str:
    """Say how a model was trained, as recorded, or as the configuration says."""
    summary = view.summaries.get(model)
    if summary is None:
        return "as given"
    if summary.get("method"):
        return str(summary["method"])
    if model.startswith("teacher") or model.endswith("no_teacher"):
        return "sft"
    return str(view.setting("distill", "method", "kd"))


def training_part(view: RunView, model: str) -> str:
    """Say which part's records trained a model, and whose signal it followed."""
    summary = view.summaries.get(model)
    if summary is None:
        return "not trained in this run"
    if summary.get("trained_on"):
        return str(summary["trained_on"])
    teachers = {
        "student": "teacher",
        "student_minimal": "teacher",
        "student_counterfactual": "counterfactual",
    }
    parts = {"teacher": "private", "teacher_counterfactual": "counterfactual"}
    if model in teachers and str(view.setting("distill", "method", "kd")) != "sft":
        return f"public, from {teachers[model]}"
    return parts.get(model, "public")


def auc_table(view: RunView) -> Table:
    """Tabulate the AUC of every model under every attack, and p of the best."""
    models = audited(view)
    rows = [
        (
            Cell(text=words(attack)),
            *(auc_cell(view.result("auc", name, attack=attack)) for name in models),
        )
        for attack in view.attacks
    ]
    counts = {row.n for row in view.rows("auc") if row.model != "blind"}
    note = (
        f"0.5 is chance, 1 tells every member from every nonmember; {level_words(view)}; n = "
        f"{_range(counts)} records. Shaded: the interval lies above 0.5. The configuration names "
        "the first row first."
    )
    if view.rows("best_attack_p"):
        best = (best_cell(view, view.result("best_attack_p", name)) for name in models)
        rows.append((Cell(text="p of the best"), *best))
        note += (
            " Best: how often shuffled membership makes the best of so many attacks look as good "
            "(near-duplicates stay together). The best heads the page, with a wider interval that "
            "allows for the choice among all of them; those of this table hold for each attack "
            "alone."
        )
    columns = ("attack", *map(view.called, models))
    caption = "Membership: AUC of each model under each attack"
    return Table(caption=caption, columns=columns, rows=tuple(rows), note=note)


def best_cell(view: RunView, row: Result | None) -> Cell:
    """Show the p-value of the best attack, its name, and of how many it is the best."""
    if row is None or math.isnan(row.value):
        return DASH
    asked = ((name, view.result("auc", row.model, attack=name)) for name in view.attacks)
    silent = [name for name, auc in asked if auc is not None and math.isnan(auc.value)]
    without = f"; without an AUC: {', '.join(silent)}" if silent else ""
    return Cell(text=f"{row.value:.2g}", small=f"{words(row.attack)}, best of {row.tests}{without}")


def audited(view: RunView) -> tuple[str, ...]:
    """List the models with an AUC."""
    found = {row.model for row in view.rows("auc")}
    return tuple(name for name in view.models if name in found)


def _range(counts: set[int]) -> str:
    return "–".join(str(n) for n in sorted({min(counts), max(counts)})) if counts else "0"


def asked_fprs(view: RunView) -> tuple[float, ...]:
    """List the false-positive rates at which TPRs were asked for, the highest first."""
    found = {row.fpr for row in view.rows("tpr_at_fpr")}
    return tuple(sorted((fpr for fpr in found if not math.isnan(fpr)), reverse=True))


def tpr_table(view: RunView, attacks: Sequence[str], caption: str) -> Table:
    """Tabulate TPR at each FPR, with the rate that the nonmembers really had."""
    fprs = asked_fprs(view)
    rows = []
    for name in audited(view):
        for attack in attacks:
            cells = [Cell(text=view.called(name)), Cell(text=words(attack))]
            for fpr in fprs:
                cells.append(share(view.result("tpr_at_fpr", name, attack=attack, fpr=fpr)))
                cells.append(share(view.result("achieved_fpr", name, attack=attack, fpr=fpr)))
            missing = view.result("nan_scores", name, attack=attack)
            cells.append(Cell(text="0" if missing is None else f"{missing.value:.0f}"))
            if view.result("auc", name, attack=attack) is not None:
                rows.append(tuple(cells))
    pairs = [(f"TPR at {100 * fpr:g} % FPR", "achieved FPR") for fpr in fprs]
    columns = ("model", "attack", *(name for pair in pairs for name in pair), "without score")
    note = (
        "The threshold comes from the nonmembers alone. The interval of a TPR is that of the true "
        "rate at this FPR, scatter of the threshold included; the achieved FPR has Clopper and "
        "Pearson's. Near-duplicates count once."
    )
    return Table(caption=caption, columns=columns, rows=tuple(rows), heads=2, note=note)


def recital_table(view: RunView) -> Table | None:
    """Tabulate recited targets of members against those of nonmembers."""
    rows = []
    for name in view.models:
        members, nonmembers = (
            view.result("extraction_rate", name, dataset=part) for part in ("private", "nonmembers")
        )
        if members is not None or nonmembers is not None:
            rows.append(
                {
                    "model": view.called(name),
                    "members recited": share(members),
                    "nonmembers recited (floor)": share(nonmembers),
                    "n members": str(members.n) if members is not None else "–",
                    "prefix, members": matched_prefix(view, name, "private"),
                    "prefix, nonmembers": matched_prefix(view, name, "nonmembers"),
                }
            )
    note = (
        "Recited: the greedy answer repeats the target exactly."
        " Prefix: mean share of the target's tokens before the first error."
    )
    return table_of("Extraction: what the models recite", rows, note)


def matched_prefix(view: RunView, model: str, part: str) -> str:
    """Average matched_prefix / tokens over a part's records, in percent."""
    if view.extraction is None:
        return "–"
    import pyarrow.compute as pc

    chosen = (pc.field("model") == model) & (pc.field("part") == part) & (pc.field("tokens") > 0)
    rows = view.extraction.filter(chosen)
    if not rows.num_rows:
        return "–"
    matched, tokens = (rows.column(name).to_numpy() for name in ("matched_prefix", "tokens"))
    return f"{100 * float(np.mean(matched / tokens)):.1f} %"


def blind_attacker_table(view: RunView) -> Table | None:
    """Tabulate what an attacker without any model tells apart: must be chance."""
    rows = [
        {"baseline": words(row.attack), "AUC": auc_cell(row), "n": str(row.n)}
        for row in sorted(view.rows("auc", model="blind"), key=lambda row: row.attack)
    ]
    note = (
        "These attackers read the records, but no model. Clearly above 0.5 the two groups differ "
        "by themselves; clearly below it by luck, or in a way that these attackers did not "
        "generalise."
    )
    return table_of("Blind baselines", rows, note)
