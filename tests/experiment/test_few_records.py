"""Too few members or nonmembers are said before anything is trained, with what would do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.cli import main
from stillage.experiment.context import make_context
from stillage.experiment.few_records import few_records_words, records_checks_need
from stillage.run.flags import from_flags
from stillage.run.parse import build
from stillage.run.stop import Stop


def said(counts: dict[str, int], *words: str, undrawn: int = 0) -> str:
    context = make_context(
        build(from_flags([*words, "--out", "run"])), Stop(), lambda name, facts: None
    )
    return few_records_words(context, counts, undrawn)


def test_it_names_what_there_is_what_is_needed_and_what_would_do() -> None:
    assert records_checks_need() == 75  # as docs/explanation/audit.md says
    assert said({"private": 75, "nonmembers": 75}) == ""
    assert said({"private": 3, "nonmembers": 3}, "--stages", "distill") == ""
    few = {"private": 75, "nonmembers": 60, "public": 165}
    pool = said(few, "--data.source", "notes.jsonl")
    assert "75 members and 60 nonmembers: the audit's checks need 75 of each" in pool
    assert "--data.shares.private 0.25 --data.shares.nonmembers 0.25." in pool
    small = said({"private": 10, "nonmembers": 8, "public": 22}, "--data.source", "notes.jsonl")
    assert "a pool of 375 different records with these shares (here: 40)" in small
    assert "--data.people 75" in said({"private": 16, "nonmembers": 16})
    files = ["--data.files.private", "a.jsonl", "--data.files.nonmembers", "b.jsonl"]
    assert "files of 75 or more" in said({"private": 16, "nonmembers": 16}, *files)


def test_the_data_stage_says_it_and_its_advice_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"p{i} x", "response": f"answer number {i}"}) for i in range(300)]
    Path("notes.jsonl").write_text("\n".join(rows))
    words = ["data", "--data.source", "notes.jsonl", "--data.group-by", ""]
    assert main([*words, "--out", "a"]) == 0
    printed = capsys.readouterr().err
    assert "60 nonmembers: the audit's checks need 75 of each" in printed
    flags = printed.partition("Enough: ")[2].partition(".\n")[0].split()
    assert flags[0] == "--data.shares.private" and main([*words, *flags, "--out", "b"]) == 0
    assert "the audit's checks need" not in capsys.readouterr().err
