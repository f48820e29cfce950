"""What the report shows of single records: the most exposed members, generated answers, recited targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.report.cells import Cell, Table
from stillage.report.claims import subject
from stillage.report.figures import scores_of
from stillage.report.load import RunView
from stillage.report.redact import Redactor, clip, mask_words, redactor
from stillage.report.words import words
from stillage.run.config import ReportConfig

if TYPE_CHECKING:
    import pyarrow as pa

GENERATIONS = 2  # test records shown, each answered by every model
HIDDEN = "masked; --show-text reveals them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to a test record."""

    model: str
    text: str
    rouge_l: float
    finished: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """A test record and every model's answer."""

    id: str
    prompt: str
    reference: str
    answers: tuple[Answer, ...]


def exposed_table(view: RunView, options: ReportConfig) -> Table | None:
    """The members that the primary attack is surest of, on the report's subject; None without scores."""
    model = subject(view)
    chosen = _member_scores(view, model)
    if not chosen:
        return None
    outsiders, members = chosen
    top = sorted(members, key=lambda pair: (-pair[1], pair[0]))[: options.examples]
    texts = _texts(view.records, {id_ for id_, _ in top})
    recited = _recited(view, model)
    rows = []
    for id_, score in top:
        above = float(np.mean(outsiders >= score))
        text = texts.get(id_, "")
        said = recited.get(id_)
        prefix = f"{said['matched_prefix']} of {said['tokens']}" if said else "–"
        rows.append(
            (
                Cell(text=id_, kind="mono"),
                text_cell(text, options),
                Cell(text=f"{score:.3f}"),
                Cell(text=f"{100 * above:.1f} %"),
                Cell(text=prefix),
                Cell(text=str(len(text)) if text else "–"),
            )
        )
    note = (
        "Outsiders above: share of outsiders with at least that score, the false-alarm rate at which the record is found."
    ) + ("" if options.show_text else f" Texts: {HIDDEN}.")
    columns = ("record", "text", "score", "outsiders above", "tokens recited", "characters")
    caption = f"Members by {words(view.primary_attack)} score on the {view.called(model)}"
    return Table(caption=caption, columns=columns, rows=tuple(rows), heads=2, note=note)


def text_cell(text: str, options: ReportConfig) -> Cell:
    """A member's text, masked unless show_text."""
    if not text:
        return Cell(text="–")
    return Cell(text=clip(text, 300)) if options.show_text else Cell(text=mask_words(text), kind="masked")


def _member_scores(view: RunView, model: str) -> tuple[np.ndarray, list[tuple[str, float]]] | None:
    """(outsiders' scores, (id, score) of each member) of the primary attack on a model."""
    if view.scores is None or model not in scores_of(view, view.primary_attack):
        return None
    import pyarrow.compute as pc

    ours = (pc.field("model") == model) & (pc.field("attack") == view.primary_attack)
    rows = view.scores.filter(ours).select(["id", "role", "score"]).to_pylist()
    rows = [row for row in rows if row["score"] is not None and np.isfinite(row["score"])]
    members = [(str(row["id"]), float(row["score"])) for row in rows if row["role"] == "private"]
    return np.array([row["score"] for row in rows if row["role"] != "private"]), members


def _texts(records: pa.Table | None, ids: set[str]) -> dict[str, str]:
    """id -> prompt, input and response of those records."""
    if records is None:
        return {}
    import pyarrow.compute as pc

    found = records.filter(pc.field("id").isin(sorted(ids)))
    return {
        row["id"]: "\n".join(row[k] for k in ("prompt", "input", "response") if row.get(k)) for row in found.to_pylist()
    }


def _recited(view: RunView, model: str) -> dict[str, Mapping[str, Any]]:
    """id -> its extraction row, for members under one model."""
    if view.extraction is None:
        return {}
    import pyarrow.compute as pc

    ours = (pc.field("model") == model) & (pc.field("role") == "private")
    return {row["id"]: row for row in view.extraction.filter(ours).to_pylist()}


def recited_table(view: RunView, options: ReportConfig) -> Table | None:
    """Members whose target a model recited furthest; targets and answers only with show_text."""
    found = _recited(view, subject(view))
    if not found:
        return None
    top = sorted(found.values(), key=lambda row: (not row["exact"], -row["matched_prefix"], row["id"]))[
        : options.examples
    ]
    rows = tuple(
        (
            Cell(text=row["id"], kind="mono"),
            text_cell(row["target"], options),
            text_cell(row["recited"], options),
            Cell(text=f"{row['matched_prefix']} of {row['tokens']}"),
            Cell(text="yes" if row["exact"] else "no"),
        )
        for row in top
    )
    columns = ("record", "target", "recited", "tokens matched", "exact")
    note = f"Greedy answers of the {view.called(subject(view))}." + ("" if options.show_text else f" Texts: {HIDDEN}.")
    return Table(caption="Members recited furthest", columns=columns, rows=rows, heads=3, note=note)


def generations(view: RunView, options: ReportConfig) -> tuple[Generation, ...]:
    """The first test records by id, with every model's answer; private runs in them are masked unless show_text."""
    if view.samples is None:
        return ()
    rows = view.samples.to_pylist()
    ids = sorted({row["id"] for row in rows})[:GENERATIONS]
    rows = [row for row in rows if row["id"] in ids]
    if options.show_text:
        return _generations(view, ids, rows, Redactor(secret=np.zeros(0, dtype=np.uint64)))
    if view.records is None:
        return ()
    texts = [str(row[key]) for row in rows for key in ("prompt", "reference", "text")]
    return _generations(view, ids, rows, redactor(view.records, texts))


def _generations(view: RunView, ids: list[str], rows: list[dict[str, Any]], hide: Redactor) -> tuple[Generation, ...]:
    found = []
    for id_ in ids:
        here = {row["model"]: row for row in rows if row["id"] == id_}
        answers = tuple(
            Answer(
                model=view.called(name),
                text=clip(hide(here[name]["text"])),
                rouge_l=here[name]["rouge_l"],
                finished=bool(here[name].get("finished", True)),
            )
            for name in view.models
            if name in here
        )
        any_row = next(iter(here.values()))
        found.append(
            Generation(
                id=id_,
                prompt=clip(hide(any_row["prompt"])),
                reference=clip(hide(any_row["reference"])),
                answers=answers,
            )
        )
    return tuple(found)
