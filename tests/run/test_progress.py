"""Facts of a loop: what is done, and a time left that follows the work, not the rows."""

from __future__ import annotations

import json
from typing import Any

import pytest

from stillage.run import progress
from stillage.run.progress import unheard, watched


def test_a_loop_is_told_as_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    facts: list[dict[str, Any]] = []
    done = watched(facts.append, "student")("scoring {} records")
    done(0, 10, 0.0)
    now[0] += 6
    done(8, 10, 0.25)
    done(10, 10, 1.0)
    about = {"model": "student", "doing": "scoring {} records", "of": 10}
    assert facts[0] == {**about, "done": 0}, "nothing is known of the time left yet"
    assert facts[1] == {**about, "done": 8, "eta_s": 18.0}, "three quarters of the work are left"
    assert facts[2]["eta_s"] == 0.0 and json.loads(json.dumps(facts)) == facts


def test_each_loop_has_a_clock_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    facts: list[dict[str, Any]] = []
    doing = watched(facts.append, "teacher")
    first = doing("one")
    now[0] = 50.0
    second = doing("two")
    now[0] = 60.0
    second(1, 2, 0.5)
    first(1, 2, 0.5)
    assert [one["eta_s"] for one in facts] == [10.0, 60.0]


def test_nobody_has_to_listen() -> None:
    unheard("scoring {} records")(1, 2, 0.5)
