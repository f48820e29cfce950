"""Evaluation sets: names, files, questions without answers, prompts that are already laid out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.data.chat_templates import ALPACA_INPUT, ALPACA_TAIL
from stillage.data.columns import record_id
from stillage.data.templates import render_prompt
from stillage.errors import DataError
from stillage.evaluate import datasets
from stillage.evaluate.datasets import KNOWN, bare, counts, open_set
from stillage.evaluate.quality import references_of
from stillage.types import Record


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def record(prompt: str, more: str = "", response: str = "r") -> Record:
    return Record(
        id=record_id(prompt, more, response), prompt=prompt, input=more, response=response
    )


@given(st.text(min_size=1), st.text())
def test_a_laid_out_prompt_is_taken_apart_again(prompt: str, more: str) -> None:
    if ALPACA_INPUT in prompt or ALPACA_TAIL in prompt + more:
        return
    original = record(prompt, more)
    laid_out = record(render_prompt(original, "alpaca"))
    assert bare(laid_out) == original
    assert bare(original) is original


def test_published_layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows as the hub has them: with and without the instruction beside the laid-out prompt; one answer or many."""
    head = record("Name a colour.", "of the sky", "blue")
    rows = [
        {"prompt": render_prompt(head, "alpaca"), "output": ["blue", "azure"]},
        {"instruction": "Say hi.", "prompt": "x", "input": "", "output": "hi"},
        {"instruction": "Third.", "prompt": "x", "input": "", "output": "3"},
    ]
    path = Path(write(tmp_path / "valid.jsonl", rows))
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(
        datasets, "fetch", lambda name, published, commit: asked.append((name, commit)) or path
    )
    chosen = open_set("Self-Inst@" + "a" * 40, limit=2)
    assert asked == [("self-instruct", "a" * 40)] and chosen.label == "self-instruct"
    assert [(r.prompt, r.input, references_of(r)) for r in chosen.records] == [
        ("Name a colour.", "of the sky", ["blue", "azure"]),
        ("Say hi.", "", ["hi"]),
    ]
    assert chosen.notes == {
        "prompts taken out of the Alpaca layout": 1,
        "records beyond the limit left out": 1,
    }
    assert counts([chosen]).startswith("self-instruct: 2 records, 1 prompts taken out")
    open_set("dolly")
    assert asked[1] == ("dolly", KNOWN["dolly"].commit) and len(KNOWN["dolly"].commit) == 40


def test_questions_without_answers_and_self_instruct(tmp_path: Path) -> None:
    rows = [
        {"question_id": 1, "turns": ["How are you?", "And now?"]},
        {
            "id": "t0",
            "instruction": "Add.",
            "instances": [{"input": "1 1", "output": "2"}, {"input": "1 2", "output": "3"}],
        },
    ]
    chosen = open_set(write(tmp_path / "mixed.jsonl", rows))
    assert [references_of(r) for r in chosen.records] == [[], ["2"], ["3"]]
    assert chosen.notes["records without a reference"] == 1


def test_the_key_is_content_and_order(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"prompt": "a", "response": "b"},
        {"prompt": "c", "response": ["d", "e"]},
    ]
    first = open_set(write(tmp_path / "one.jsonl", rows))
    again = open_set(write(tmp_path / "two.jsonl", rows))
    assert first.key == again.key and first.label != again.label
    assert open_set(write(tmp_path / "three.jsonl", rows[::-1])).key != first.key
    changed: list[dict[str, object]] = [rows[0], {"prompt": "c", "response": ["d", "f"]}]
    assert (
        open_set(write(tmp_path / "four.jsonl", changed)).key != first.key
    )  # another second reference


def test_what_cannot_be_read_is_refused_with_the_fix() -> None:
    with pytest.raises(DataError, match="Did you mean dolly"):
        open_set("dolyl")
    with pytest.raises(DataError, match=r"vicuna@COMMIT; the one that starts with 05a1870"):
        open_set("vicuna")
    with pytest.raises(DataError, match="wanted: 40 hexadecimal"):
        open_set("dolly@main")
