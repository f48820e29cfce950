"""How far the work is: in words, in lines of a log, and from a process to its parent."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from stillage.cli.board import Board, facts_in_words
from stillage.face.evaluation import Matrix, with_defaults
from stillage.models.batching import run_batches
from stillage.models.beams import beam_search
from stillage.models.generate import Decoding, generate
from stillage.models.gradients import gradient_norms
from stillage.models.prompts import Prompts, TextRules
from stillage.models.query import token_stats
from stillage.run.children import Lines
from stillage.run.progress import unheard, watched

SCORING = {
    "model": "student",
    "doing": "scoring {} records",
    "done": 1200,
    "of": 1600,
    "eta_s": 41.2,
}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"model": "student"}, "student"),
        (SCORING, "student, scoring 1,200 of 1,600 records, 0:41 left"),
        (
            {"doing": "{} documents tokenised", "done": 5120, "eta_s": 3725},
            "5,120 documents tokenised, 1:02:05 left",
        ),
        (
            {"step": 12, "total": 80, "loss": 2.3456, "eta_s": 5},
            "step 12/80 (15 %), loss 2.346, 0:05 left",
        ),
    ],
)
def test_facts_in_words(facts: Mapping[str, Any], words: str) -> None:
    assert facts_in_words(facts) == words


def test_a_log_has_a_line_every_30_s(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("stillage.cli.board.time.monotonic", lambda: now[0])
    with Board() as board:
        for seconds in (1, 29, 31, 40, 60, 61):
            now[0] = seconds
            board.show("audit", {**SCORING, "done": seconds})
    said = capsys.readouterr().err.splitlines()
    assert [line.split(" of ")[0] for line in said] == [
        "audit: student, scoring 31",
        "audit: student, scoring 61",
    ]


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True
    monkeypatch.setattr("sys.stderr", terminal)
    with Board() as board:
        for done in (800, 1600, 10):  # the last: another loop of the same name
            board.show("audit", {**SCORING, "done": done})
            assert board.bar is not None
            task = board.bar.tasks[0]
            assert (task.completed, task.total, task.visible) == (done, 1600, done < 1600)
        assert task.fields["facts"] == "student, scoring 10 of 1,600 records, 0:41 left"


def test_a_child_tells_its_parent(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines(every_s=1e9)
    for done in (100, 200, 1600):
        lines.show("audit", {**SCORING, "done": done})
    assert [json.loads(line)["done"] for line in capsys.readouterr().out.splitlines()] == [
        1600
    ]  # the end of a loop is always told


def test_the_time_left_is_that_of_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    now, told = [100.0], []
    monkeypatch.setattr("stillage.run.progress.time.monotonic", lambda: now[0])
    done = watched(told.append, "student")("scoring {} records")
    now[0] = 130.0
    done(1, 10, 0.25)
    done(10, 10, 1.0)
    assert told[0] == {
        "model": "student",
        "doing": "scoring {} records",
        "done": 1,
        "of": 10,
        "eta_s": 90.0,
    }
    assert told[1]["eta_s"] == 0
    unheard("scoring {} records")(1, 10, 0.25)


def test_batches_tell_their_share_of_the_work() -> None:
    told = []
    run_batches(
        [1, 9, 10], 10, lambda rows: None, lambda *facts: told.append(facts), kinds=[0, 0, 0]
    )
    assert told == [(1, 3, 0.5), (2, 3, pytest.approx(0.95)), (3, 3, 1.0)]


def test_every_loop_tells_how_far_it_is(small: SimpleNamespace) -> None:
    """The rows only grow, and the last word is that all are done."""
    model, examples = small.model(), small.examples(6)
    prompts, names = (
        [example.prompt_ids for example in examples],
        [example.record_id for example in examples],
    )
    loops = {
        "scores": lambda told: token_stats(model, examples, batch_tokens=16, progress=told),
        "gradients": lambda told: gradient_norms(model, examples, progress=told),
        "answers": lambda told: generate(
            model,
            Prompts(prompts, names, 1),
            Decoding(max_new_tokens=5),
            TextRules(0, 1),
            batch_tokens=24,
            progress=told,
        ),
        "searches": lambda told: beam_search(
            model,
            Prompts(prompts, names),
            TextRules(0, 1),
            beams=2,
            max_new_tokens=3,
            batch_tokens=24,
            progress=told,
        ),
    }
    for name, loop in loops.items():
        told: list[tuple[int, int, float]] = []
        loop(lambda *facts, told=told: told.append(facts))
        assert len(told) > 1 and told == sorted(told), name
        assert told[-1] == (6, 6, pytest.approx(1.0)), name


def test_one_greedy_answer_by_default_and_the_published_matrix_by_name() -> None:
    def meant(asked: Matrix) -> tuple[object, object]:
        found = with_defaults(asked)
        return found.decoding, found.seeds

    assert meant(Matrix()) == (("greedy",), (10,))
    assert meant(Matrix(published=True)) == (("as_released",), (10, 20, 30, 40, 50))
    assert meant(Matrix(published=True, decoding=("paper",))) == (("paper",), (10, 20, 30, 40, 50))
    assert meant(Matrix(seeds=(1, 2))) == (("as_released",), (1, 2))
    assert meant(Matrix(decoding=("greedy",), seeds=(3,))) == (("greedy",), (3,))
