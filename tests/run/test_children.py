"""Stages side by side: all that a child told comes before its end, whatever it prints, and it never outlives its parent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from stillage.cli import runs as cli
from stillage.run import children
from stillage.run.children import (
    Lines,
    Parent,
    command_of,
    parent_in,
    ready,
    run_together,
    said_by_child,
)
from stillage.run.stages import Stage
from stillage.run.stop import Stop

TALKS = "import sys; [print(line) for line in sys.argv[1:]]"


def two_stages() -> list[Stage]:
    return [Stage(name=name, settings={}, work=lambda _: None) for name in ("a", "b")]


def test_the_progress_of_a_stage_comes_before_its_end() -> None:
    """The listener is slow, so that the child has ended long before its last line is read."""
    told: list[object] = []
    pause = threading.Event()

    def progress(name: str, facts: Mapping[str, Any]) -> None:
        pause.wait(0.2)
        told.append((name, facts["step"]))

    lines = [f'{{"step": {step}}}' for step in range(3)]
    run_together(
        two_stages(),
        set(),
        Parent(
            command=lambda name: [sys.executable, "-c", TALKS, *lines],
            jobs=2,
            stop=Stop(),
            progress=progress,
            say=lambda name, seconds: None if seconds is None else told.append(name),
        ),
    )
    for name in ("a", "b"):
        of_stage = [entry for entry in told if entry == name or entry[0] == name]  # pyright: ignore
        assert of_stage == [(name, 0), (name, 1), (name, 2), name]


def test_what_is_no_progress_is_shown_and_stops_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    """A plugin that prints: its words, a number, bytes that are no text; more than a pipe holds comes after it."""
    told: list[tuple[str, Mapping[str, Any]]] = []
    code = (
        "import sys; print('hello'); print(7); sys.stdout.flush(); sys.stdout.buffer.write(b'\\xff\\n'); sys.stdout.flush()\n"
        'for step in range(3000): print(\'{"step": %d, "padding": "%s"}\' % (step, \'x\' * 40))'
    )
    stages = two_stages()
    run_together(
        stages,
        set(),
        Parent(
            command=lambda name: [sys.executable, "-c", code],
            jobs=2,
            stop=Stop(),
            progress=lambda *fact: told.append(fact),
            say=lambda name, seconds: None,
        ),
    )
    assert not stages
    assert sorted(name for name, facts in told if facts["step"] == 2999) == ["a", "b"]
    printed = capfd.readouterr().err.splitlines()
    assert [printed.count(line) for line in ("hello", "7", "\ufffd")] == [2, 2, 2]


def test_a_failed_stage_ends_the_others_with_its_exit_code() -> None:
    codes = {"a": "raise SystemExit(2)", "b": "import time; time.sleep(600)"}
    with pytest.raises(SystemExit) as caught:
        run_together(
            two_stages(),
            set(),
            Parent(
                command=lambda name: [sys.executable, "-c", codes[name]],
                jobs=2,
                stop=Stop(),
                progress=lambda *_: None,
                say=lambda *_: None,
            ),
        )
    assert caught.value.code == 2


def test_a_child_whose_parent_died_before_it_looked_ends_at_once() -> None:
    """It compares its parent of now with the one that started it, as that one said."""
    code = "from stillage.run.children import die_with_parent; die_with_parent(-1)"
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == (75 if sys.platform == "linux" else 0)


def test_a_child_is_told_its_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    command = command_of(Path("run"), None, [], "teacher")
    assert parent_in(command) == os.getpid()
    assert parent_in(["run", "--only", "teacher"]) == os.getppid()
    asked: list[int] = []

    def refuse(parent_pid: int) -> None:
        asked.append(parent_pid)
        raise SystemExit(75)

    monkeypatch.setattr(children, "die_with_parent", refuse)
    with pytest.raises(SystemExit):
        cli.run_child([*command[4:], "--parent=-1"], ())
    assert asked == [os.getpid()]


def test_ready_is_what_has_every_input_in_order() -> None:
    stages = [
        Stage(name="c", settings={}, work=lambda _: None, inputs=("a", "b")),
        Stage(name="b", settings={}, work=lambda _: None, inputs=("a",)),
        Stage(name="d", settings={}, work=lambda _: None),
    ]
    assert [stage.name for stage in ready(stages, set())] == ["d"]
    assert [stage.name for stage in ready(stages, {"a"})] == ["b", "d"]
    assert [stage.name for stage in ready(stages, {"a", "b", "e"})] == ["c", "b", "d"]


def test_a_childs_end_is_told_by_code_or_signal() -> None:
    assert said_by_child("teacher", 2).values.startswith("it ended with exit code 2;")
    assert said_by_child("teacher", -9).values.startswith("it was killed by signal 9;")
    assert "teacher failed" in said_by_child("teacher", 2).what


def test_a_child_is_told_the_store_and_every_plugin() -> None:
    words = command_of(Path("run"), Path("st ore"), [Path("a.py"), Path("b.py")], "teacher")
    assert words[:5] == [sys.executable, "-m", "stillage", "run", "run"]
    assert words[words.index("--only") + 1] == "teacher"
    assert words[words.index("--store") + 1] == "st ore"
    assert words[-2:] == ["--plugin=a.py", "--plugin=b.py"]
    assert "--store" not in command_of(Path("run"), None, [], "teacher")


def test_progress_is_a_line_at_a_time_and_the_end_is_always_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(every_s=3600)
    for step in range(1, 4):
        lines.show("student", {"step": step, "total": 3})
    lines.show("student", {"done": 1, "of": 2})
    lines.show("student", {"done": 2, "of": 2, "at": Path("a")})
    printed = capsys.readouterr().out.splitlines()
    told = [json.loads(line) for line in printed]
    assert told[-2:] == [{"step": 3, "total": 3}, {"done": 2, "of": 2, "at": "a"}]
    assert {"step": 2, "total": 3} not in told and {"done": 1, "of": 2} not in told
    often = Lines(every_s=0)
    often.show("student", {"step": 1, "total": 3})
    assert capsys.readouterr().out == '{"step": 1, "total": 3}\n'
