"""Single records: the most exposed members, generated answers, recited targets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.report.cells import DASH, Cell, Table, table_of
from stillage.report.claims import subject
from stillage.report.figures import attack_scores
from stillage.report.private import Disclosure, PrivateText
from stillage.report.redact import clip
from stillage.report.run_view import RunView
from stillage.report.wording import words
from stillage.run.config import ReportConfig

if TYPE_CHECKING:
    import pyarrow as pa

GENERATIONS = 2  # test records shown, each answered by every model
HIDDEN = (
    "Texts are masked and records renamed by a key of the run folder; --show-text reveals them, "
    "scores and lengths."
)


def exposed_table(view: RunView, options: ReportConfig) -> Table | None:
    """Tabulate the members that the primary attack is surest of; None without scores."""
    model = subject(view)
    found = attack_scores(view, view.primary_attack).get(model)
    if found is None:
        return None
    pairs = zip(found.by_id.items(), found.is_member, strict=True)
    members = [pair for pair, inside in pairs if inside]
    nonmembers = found.scores[~found.is_member]
    sight = view.sight
    top = sorted(members, key=lambda pair: (-pair[1], sight.id(pair[0])))[: options.examples]
    texts = _texts(view.records, {id_ for id_, _ in top})
    recited = _recited(view, model)
    rows = []
    for id_, score in top:
        text = texts.get(id_, PrivateText(""))
        said = recited.get(id_)
        length = str(len(text.text)) if text.text else "–"
        # both would confirm a guess at a text, to whoever has the model
        exact = {"score": f"{score:.3f}", "characters": length} if sight.shows_all else {}
        rows.append(
            {
                "record": Cell(text=sight.id(id_), kind="mono"),
                "text": text_cell(text, sight),
                "nonmembers above": f"{100 * float(np.mean(nonmembers >= score)):.1f} %",
                "tokens recited": f"{said['matched_prefix']} of {said['tokens']}" if said else "–",
                **exact,
            }
        )
    note = (
        "Nonmembers above: share of nonmembers with at least that score, the false-alarm rate at "
        "which the record is found."
    ) + ("" if sight.shows_all else f" {HIDDEN}")
    caption = f"Members by {words(view.primary_attack)} score on the {view.called(model)}"
    return table_of(caption, rows, note, heads=2)


def text_cell(text: PrivateText, sight: Disclosure) -> Cell:
    """A member's text, masked where texts are not shown."""
    if not text.text:
        return DASH
    return Cell(text=clip(sight.text(text), 300), kind="" if sight.shows_all else "masked")


def _texts(records: pa.Table | None, ids: set[str]) -> dict[str, PrivateText]:
    """Read prompt, input and response of some records, by id."""
    if records is None:
        return {}
    import pyarrow.compute as pc

    found = records.filter(pc.field("id").isin(sorted(ids)))
    return {
        row["id"]: PrivateText(
            "\n".join(row[k] for k in ("prompt", "input", "response") if row.get(k))
        )
        for row in found.to_pylist()
    }


def _recited(view: RunView, model: str) -> dict[str, Mapping[str, Any]]:
    """Find the extraction rows of members under one model, by id."""
    if view.extraction is None:
        return {}
    import pyarrow.compute as pc

    ours = (pc.field("model") == model) & (pc.field("part") == "private")
    return {row["id"]: row for row in view.extraction.filter(ours).to_pylist()}


def recited_table(view: RunView, options: ReportConfig) -> Table | None:
    """Tabulate the members recited furthest; texts only with show_text."""
    found = _recited(view, subject(view))
    if not found:
        return None
    sight = view.sight
    top = sorted(
        found.values(),
        key=lambda row: (not row["exact"], -row["matched_prefix"], sight.id(row["id"])),
    )
    rows = [
        {
            "record": Cell(text=sight.id(row["id"]), kind="mono"),
            "target": text_cell(PrivateText(row["target"]), sight),
            "recited": text_cell(PrivateText(row["recited"]), sight),
            "tokens matched": f"{row['matched_prefix']} of {row['tokens']}",
            "exact": "yes" if row["exact"] else "no",
        }
        for row in top[: options.examples]
    ]
    note = f"Greedy answers of the {view.called(subject(view))}." + (
        "" if sight.shows_all else f" {HIDDEN}"
    )
    return table_of("Members recited furthest", rows, note, heads=3)


def first_samples(view: RunView) -> list[dict[str, Any]]:
    """List the rows of samples.parquet of the first test records by id.

    None of them where they cannot be checked and may not be shown.
    """
    if view.samples is None or (view.records is None and not view.sight.shows_all):
        return []
    ids = sorted(set(view.samples.column("id").to_pylist()))[:GENERATIONS]
    return [row for row in view.samples.to_pylist() if row["id"] in ids]


def sampled_texts(view: RunView) -> list[str]:
    """List the texts that `generations` shows: models may have them of members."""
    return [str(row[key]) for row in first_samples(view) for key in ("prompt", "reference", "text")]


def generations(view: RunView) -> list[dict[str, Any]]:
    """List the first test records by id: prompt, reference and answers, masked.

    An answer: model, text, rouge_l (NaN: the reference has no word), finished.
    """
    rows, free, found = first_samples(view), view.sight.free, []
    for id_ in sorted({row["id"] for row in rows}):
        here = {row["model"]: row for row in rows if row["id"] == id_}
        answers = [
            {
                "model": view.called(name),
                "text": clip(free(here[name]["text"])),
                "rouge_l": here[name]["rouge_l"],
                "finished": bool(here[name].get("finished", True)),
            }
            for name in view.models
            if name in here
        ]
        first = next(iter(here.values()))
        asked = {key: clip(free(first[key])) for key in ("prompt", "reference")}
        found.append({**asked, "answers": answers})
    return found
