"""The teacher's texts: written once, shared by all processes, kept, and continued."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file

from stillage.distill.texts import with_response
from stillage.errors import Interrupted
from stillage.models.generate import generate
from stillage.models.prompts import Prompts, TextRules
from stillage.types import Decoding

if TYPE_CHECKING:
    pass
import logging
import threading
from typing import Any

import pyarrow as pa

from stillage.distill import teacher_generation
from stillage.distill.teacher_generation import warn_of_whole_texts, write_parts
from stillage.run.folder import read_table, remove, write_table

EOS = 0


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


def test_the_teachers_texts_replace_the_responses_and_are_written_once(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SeqKD = fine-tuning on what the teacher wrote. A second student finds the texts in the folder."""
    teacher, examples = small.model(seed=1, width=48), small.examples(12)
    settings = {"decoding": "greedy", "max_new_tokens": 6}
    small.train(
        tmp_path / "seqkd", method="seqkd", settings=settings, teacher=teacher, examples=examples
    )
    prompts, names = [text.prompt_ids for text in examples], [text.record_id for text in examples]
    written = generate(
        teacher,
        Prompts(prompts, names),
        Decoding(max_new_tokens=6),
        TextRules(EOS, 1),
    )
    rows = pq.read_table(tmp_path / "seqkd" / "texts.parquet").to_pylist()
    assert {row["id"]: row["ids"] for row in rows} == {
        n: ids.tolist() for n, ids in zip(names, written, strict=True)
    }
    assert all(
        row["finished"] == (row["ids"][-1] == EOS) and row["text"] is not None for row in rows
    )
    texts = [with_response(example, ids) for example, ids in zip(examples, written, strict=True)]
    small.train(tmp_path / "sft", method="sft", examples=texts)
    one, two = (
        load_file(tmp_path / name / "model" / "model.safetensors") for name in ("seqkd", "sft")
    )
    assert all(torch.equal(one[name], two[name]) for name in one)

    def nobody(*_: object, **__: object) -> None:
        raise AssertionError("the texts are there")

    monkeypatch.setattr("stillage.distill.teacher_generation.write_texts", nobody)
    for path in (tmp_path / "seqkd").iterdir():
        if not path.name.startswith("texts."):
            path.rename(tmp_path / path.name)
    small.train(
        tmp_path / "seqkd", method="seqkd", settings=settings, teacher=teacher, examples=examples
    )
    (tmp_path / "seqkd" / "summary.json").unlink()
    with pytest.raises(AssertionError, match="the texts are there"):
        small.train(
            tmp_path / "seqkd",
            method="seqkd",
            settings=settings,
            teacher=small.model(3),
            examples=examples,
        )


def test_writing_goes_on_where_it_was_stopped(
    small: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stillage.distill.teacher_generation.PART", 5)
    settings: dict[str, object] = {"decoding": "sampling", "max_new_tokens": 6}
    small.train(tmp_path / "whole", method="seqkd", settings=settings)
    with pytest.raises(Interrupted, match="answers to 10 of 20"):
        small.train(
            tmp_path / "parts", method="seqkd", settings=settings, should_stop=small.stop_after(3)
        )
    assert len(list((tmp_path / "parts" / "texts").iterdir())) == 2
    small.train(tmp_path / "parts", method="seqkd", settings=settings)
    for name in ("texts.parquet", "model/model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert not (tmp_path / "parts" / "texts").exists()


@pytest.mark.parametrize("decoding", ["beam", "sampling", "greedy"])
def test_soft_targets_on_the_teachers_texts(
    small: SimpleNamespace, tmp_path: Path, decoding: str
) -> None:
    settings = {"decoding": decoding, "max_new_tokens": 4, "kd_weight": 0.5, "ce_weight": 0.5}
    small.train(tmp_path, method="seqkd", settings=settings, max_steps=2)
    line = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[1])
    assert (
        line["kd"] > 0 and line["ce"] > 0 and line["loss"] == pytest.approx(line["kd"] + line["ce"])
    )
