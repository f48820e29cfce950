"""The main tables: models and quality, membership, extraction, blind attackers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from stillage.report.cells import (
    Cell,
    Table,
    auc_cell,
    head,
    level_words,
    model_head,
    number,
    share,
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


def signature_of(view: RunView, metric: str) -> str:
    """What sacrebleu says of how a metric was computed; empty where that is not known."""
    return next((row.signature for row in view.results if row.metric == metric), "")


def models_table(view: RunView) -> Table:
    """Who was trained how, on what, and how good it is."""
    measured = {row.metric for row in view.results if row.metric != PUBLISHED or differs(view, row)}
    quality = {
        name: shown for name, shown in QUALITY.items() if name in measured or name not in SOMETIMES
    }
    rows = []
    for name in view.models:
        facts = (
            model_head(view, name),
            Cell(text=method_of(view, name)),
            Cell(text=training_part(view, name)),
        )
        size = Cell(text=thousands(view.parameters.get(name)))
        rows.append(
            (
                *facts,
                size,
                *(
                    number(view.result(metric, name), digits)
                    for metric, (_, digits) in quality.items()
                ),
            )
        )
    columns = (
        "model",
        "method",
        "trained on",
        "parameters",
        *(heading for heading, _ in quality.values()),
    )
    note = f"ROUGE-L and exact match run from 0 to 1; {level_words(view)}."
    overlap = [
        f"{QUALITY[name][0]} {signature}"
        for name in OVERLAP
        if (signature := signature_of(view, name))
    ]
    if overlap:
        note += f" Over the whole corpus, 0 to 100, by sacrebleu: {'; '.join(overlap)}."
    return Table(
        caption="Training and quality on test records",
        columns=columns,
        rows=tuple(rows),
        heads=3,
        note=note,
    )


def differs(view: RunView, published: Result) -> bool:
    """Tell whether the published ROUGE-L of a model is a number of its own."""
    ours = view.result("rouge_l", published.model)
    return ours is None or ours.value != published.value


def method_of(view: RunView, model: str) -> str:
    """How a model was trained, as recorded, or as the configuration says."""
    stated = first(view.summaries.get(model, {}), "method")
    if stated:
        return str(stated)
    if model not in view.summaries:
        return "as given"
    return (
        "sft"
        if model.startswith("teacher") or model.endswith("no_teacher")
        else str(view.setting("distill", "method", "kd"))
    )


def training_part(view: RunView, model: str) -> str:
    """Which part's records trained a model, and whose signal it followed."""
    stated = first(view.summaries.get(model, {}), "trained_on")
    if stated:
        return str(stated)
    if model not in view.summaries:
        return "not trained in this run"
    teachers = {
        "student": "teacher",
        "student_minimal": "teacher",
        "student_counterfactual": "counterfactual",
    }
    parts = {"teacher": "private", "teacher_counterfactual": "counterfactual"}
    if model in teachers and str(view.setting("distill", "method", "kd")) != "sft":
        return f"public, from {teachers[model]}"
    return parts.get(model, "public")


def first(mapping: Mapping[str, Any], *keys: str) -> Any:  # noqa: ANN401 - summaries are JSON
    """The first of `keys` that is there and not None."""
    return next((mapping[key] for key in keys if mapping.get(key) is not None), None)


def auc_table(view: RunView) -> Table:
    """Tabulate the AUC of every model under every attack, and p of the best."""
    models = audited(view)
    rows = [
        (head(attack), *(auc_cell(view.result("auc", name, attack=attack)) for name in models))
        for attack in view.attacks
    ]
    counts = {row.n for row in view.results if row.metric == "auc" and row.model != "blind"}
    note = (
        f"0.5 is chance, 1 tells every member from every nonmember; {level_words(view)}; n = "
        f"{_range(counts)} records. Shaded: the interval lies above 0.5. The configuration names "
        "the first row first."
    )
    if any(row.metric == "best_attack_p" for row in view.results):
        rows.append(
            (
                head("p of the best"),
                *(best_cell(view, view.result("best_attack_p", name)) for name in models),
            )
        )
        note += (
            " Best: how often shuffled membership makes the best of so many attacks look as good "
            "(near-duplicates stay together). The best heads the page, with a wider interval that "
            "allows for the choice among all of them; those of this table hold for each attack "
            "alone."
        )
    columns = ("attack", *(view.called(name) for name in models))
    caption = "Membership: AUC of each model under each attack"
    return Table(caption=caption, columns=columns, rows=tuple(rows), note=note)


def best_cell(view: RunView, row: Result | None) -> Cell:
    """Show the p-value of the best attack, its name, and of how many it is the best."""
    if row is None or math.isnan(row.value):
        return Cell(text="–")
    asked = ((name, view.result("auc", row.model, attack=name)) for name in view.attacks)
    silent = [name for name, auc in asked if auc is not None and math.isnan(auc.value)]
    without = f"; without an AUC: {', '.join(silent)}" if silent else ""
    return Cell(text=f"{row.value:.2g}", small=f"{words(row.attack)}, best of {row.tests}{without}")


def audited(view: RunView) -> tuple[str, ...]:
    """Models with an AUC."""
    found = {row.model for row in view.results if row.metric == "auc"}
    return tuple(name for name in view.models if name in found)


def _range(counts: set[int]) -> str:
    return "–".join(str(n) for n in sorted({min(counts), max(counts)})) if counts else "0"


def asked_fprs(view: RunView) -> tuple[float, ...]:
    """The false-positive rates at which TPRs were asked for, the highest first."""
    found = {row.fpr for row in view.results if row.metric == "tpr_at_fpr"}
    return tuple(sorted((fpr for fpr in found if not math.isnan(fpr)), reverse=True))


def tpr_table(view: RunView, attacks: Sequence[str], caption: str) -> Table:
    """TPR at each false-positive rate, with the rate the nonmembers really had."""
    fprs = asked_fprs(view)
    rows = []
    for name in audited(view):
        for attack in attacks:
            cells = [model_head(view, name), head(attack)]
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


def recital_table(view: RunView) -> Table:
    """Tabulate recited targets of members against those of nonmembers."""
    rows = []
    for name in view.models:
        members = view.result("extraction_rate", name, dataset="private")
        nonmembers = view.result("extraction_rate", name, dataset="nonmembers")
        if members is None and nonmembers is None:
            continue
        count = str(members.n) if members is not None else "–"
        prefix = (Cell(text=matched_prefix(view, name, part)) for part in ("private", "nonmembers"))
        rows.append(
            (model_head(view, name), share(members), share(nonmembers), Cell(text=count), *prefix)
        )
    columns = (
        "model",
        "members recited",
        "nonmembers recited (floor)",
        "n members",
        "prefix, members",
        "prefix, nonmembers",
    )
    note = (
        "Recited: the greedy answer repeats the target exactly."
        " Prefix: mean share of the target's tokens before the first error."
    )
    return Table(
        caption="Extraction: what the models recite", columns=columns, rows=tuple(rows), note=note
    )


def matched_prefix(view: RunView, model: str, part: str) -> str:
    """Mean of matched_prefix / tokens over a part's records, in percent."""
    if view.extraction is None:
        return "–"
    import pyarrow.compute as pc

    chosen = (pc.field("model") == model) & (pc.field("part") == part) & (pc.field("tokens") > 0)
    rows = view.extraction.filter(chosen)
    if not rows.num_rows:
        return "–"
    matched, tokens = (rows.column(name).to_numpy() for name in ("matched_prefix", "tokens"))
    return f"{100 * float(np.mean(matched / tokens)):.1f} %"


def blind_attacker_table(view: RunView) -> Table:
    """Tabulate what an attacker without any model tells apart: must be chance."""
    rows = tuple(
        (head(row.attack), auc_cell(row), Cell(text=str(row.n)))
        for row in sorted(view.results, key=lambda row: row.attack)
        if row.metric == "auc" and row.model == "blind"
    )
    note = (
        "These attackers read the records, but no model. Clearly above 0.5 the two groups differ "
        "by themselves; clearly below it by luck, or in a way that these attackers did not "
        "generalise."
    )
    return Table(caption="Blind baselines", columns=("baseline", "AUC", "n"), rows=rows, note=note)
