"""Several processes share the teacher's answers: none goes on with what another still reads."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

from stillage.distill import teacher_generation
from stillage.distill.teacher_generation import warn_of_whole_texts, write_parts
from stillage.run.folder import read_table, remove, write_table

KEY = "k" * 64


def test_nobody_removes_the_parts_before_all_have_read_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last part is there from an earlier attempt, and the second process is slow to read it."""
    kept = pa.table({"id": ["a"], "text": ["b"], "finished": [True], "ids": [[1]]})
    write_table(tmp_path / "texts" / f"{KEY[:16]}-{0:09d}.parquet", kept)
    meet, removed, main = threading.Barrier(2), threading.Event(), threading.current_thread()
    results: dict[bool, Any] = {}

    def slow_read(path: Path) -> pa.Table:
        if threading.current_thread() is not main:
            removed.wait(0.5)
        return read_table(path)

    def told_remove(path: Path) -> None:
        remove(path)
        removed.set()

    def process(is_first: bool) -> None:
        accelerator = SimpleNamespace(
            is_main_process=is_first, wait_for_everyone=lambda: meet.wait(60)
        )
        try:
            results[is_first] = write_parts(
                SimpleNamespace(accelerator=accelerator),  # pyright: ignore[reportArgumentType]
                SimpleNamespace(examples=[None]),  # pyright: ignore[reportArgumentType]
                tmp_path,
                KEY,
                lambda: False,
                None,
            )
        except FileNotFoundError as error:
            results[is_first] = error
            meet.abort()

    monkeypatch.setattr(teacher_generation, "read_table", slow_read)
    monkeypatch.setattr(teacher_generation, "remove", told_remove)
    other = threading.Thread(target=process, args=(False,))
    other.start()
    process(True)
    other.join(60)
    assert results == {True: kept, False: kept}
    assert not (tmp_path / "texts").exists() and read_table(tmp_path / "texts.parquet") == kept


def test_answers_that_never_come_to_their_end_are_counted_aloud(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, logger="stillage"):
        warn_of_whole_texts(["a;", "b; c", ""], "")
        assert not caplog.records
        warn_of_whole_texts(["a;", "b", "c"], ";")
    assert "2 of 3 answers never come to ';': they are trained whole" in caplog.text
