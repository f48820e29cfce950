"""What a training writes down: lines for programs that depend on no clock, and lines for people."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from stillage.distill.journal import Journal, lines_until


def journal(folder: Path, step: int = 0, heard: list | None = None) -> Journal:
    report = None if heard is None else heard.append
    return Journal(folder, step=step, total=4, train_s=10.0, report=report)


def entry(step: int) -> dict[str, object]:
    return {"step": step, "loss": 2.0 / step, "lr": 0.1}


def test_lines_after_the_checkpoint_go_and_so_does_one_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    assert lines_until(path, 3) == ""
    whole = "".join(json.dumps(entry(step)) + "\n" for step in (1, 2, 3))
    path.write_text(whole)
    assert lines_until(path, 9) == whole and lines_until(path, 2).count("\n") == 2
    path.write_text(whole[:-4])
    assert lines_until(path, 9).count("\n") == 2


def test_an_attempt_goes_on_where_its_checkpoint_was(tmp_path: Path) -> None:
    first = journal(tmp_path)
    for step in (1, 2, 3):
        first.stepped(entry(step), 5)
    first.close()
    again = journal(tmp_path, step=2)
    again.stepped(entry(3), 5)
    again.close()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2, 3]
    assert again.seconds() >= 10.0
    fresh = journal(tmp_path)
    fresh.close()
    assert (tmp_path / "metrics.jsonl").read_text() == "", "a training from its start has no past"


def test_programs_read_no_time_and_listeners_do(tmp_path: Path) -> None:
    heard: list[dict[str, object]] = []
    made = journal(tmp_path, heard=heard)
    made.stepped(entry(1), 5)
    made.validated(1, 0.5, 1.25, None)
    made.validated(2, 1.0, 1.5, 0.25)
    made.close()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines[0] == entry(1)
    assert lines[1] == {"step": 1, "epoch": 0.5, "validation_loss": 1.25}
    assert lines[2]["validation_rouge_l"] == 0.25
    assert heard[0].keys() - lines[0].keys() == {"total", "tokens_per_s", "eta_s"}
    assert heard[1] == {**lines[1], "total": 4}
    text = (tmp_path / "train.log").read_text()
    assert "validation loss 1.2500 nats per token\n" in text and "ROUGE-L 0.2500" in text


def test_people_read_the_last_step_and_every_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = journal(tmp_path)
    for step in (1, 2, 3, 4):
        made.stepped(entry(step), 5)
    made.warn("look here")
    made.close()
    lines = (tmp_path / "train.log").read_text().splitlines()
    assert len(lines) == 2 and "step 4/4  loss 0.5000" in lines[0] and "look here" in lines[1]
    assert "look here" in caplog.text
