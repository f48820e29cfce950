"""Folders of answers: one for each question, and earlier answers are put aside, never lost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch

from stillage.errors import CheckpointError
from stillage.evaluate.datasets import EvalSet
from stillage.evaluate.matrix_cells import (
    SUPERSEDED,
    EncodedSet,
    EvaluatedModel,
    MatrixTask,
    PromptLayout,
    groups_among,
    kept,
    set_folder,
    with_reference,
)
from stillage.run.folder import read_json, read_table
from stillage.types import Example, Record

RECORDS = [Record(id=str(k), prompt=f"say {k}", response=f"word {k}") for k in range(3)]


def encoded(**changes: object) -> EncodedSet:
    """Three prompts and one reference, as a model might read them."""
    gold = Example(record_id="0", ids_T=np.arange(4, dtype=np.int32), response_T=np.arange(4) > 1)
    plain = EncodedSet(
        chosen=EvalSet(label="three/words", records=RECORDS),
        layout=PromptLayout(),
        prompts=tuple(np.array([1, 2, k], np.int32) for k in range(3)),
        gold=(gold,),
    )
    return dataclasses.replace(plain, **cast("dict[str, Any]", changes))


def evaluation(out: Path, said: list[str], **changes: object) -> MatrixTask:
    model = EvaluatedModel(
        name="small",
        key="a" * 64,
        model=cast("Any", SimpleNamespace(dtype=torch.float32)),
        tokenizer=cast("Any", None),
        eos_id=0,
        pad_id=0,
        where="/models/small",
    )
    subject = dataclasses.replace(model, **cast("dict[str, Any]", changes))
    return MatrixTask(subject=subject, layout=PromptLayout(), out=out, say=said.append)


def test_a_key_holds_all_that_decides_an_answer() -> None:
    other = Example(record_id="0", ids_T=np.arange(4, dtype=np.int32), response_T=np.arange(4) > 2)
    changed = [
        encoded(),
        encoded(layout=PromptLayout(max_prompt_tokens=8)),
        encoded(prompts=encoded().prompts[::-1]),
        encoded(gold=(other,)),
        encoded(gold=()),
        encoded(chosen=EvalSet(label="three/words", records=RECORDS[:2])),
    ]
    assert len({one.key for one in changed}) == len(changed)
    assert encoded().key == encoded(chosen=EvalSet(label="renamed", records=RECORDS)).key


def test_earlier_answers_of_a_changed_model_are_put_aside(tmp_path: Path) -> None:
    said: list[str] = []
    first = set_folder(evaluation(tmp_path, said), encoded())
    assert first.name.startswith("three-words-") and not said
    second = set_folder(evaluation(tmp_path, said, key="b" * 64), encoded())
    assert read_json(first / SUPERSEDED)["by"] == str(second.relative_to(tmp_path))
    assert len(said) == 1 and "is not what it was" in said[0]
    again = set_folder(evaluation(tmp_path, said), encoded())
    assert again == first and not (first / SUPERSEDED).exists() and (second / SUPERSEDED).exists()


def test_another_model_or_question_puts_nothing_aside(tmp_path: Path) -> None:
    said: list[str] = []
    set_folder(evaluation(tmp_path, said), encoded())
    set_folder(evaluation(tmp_path, said, key="c" * 64, where="/models/other"), encoded())
    set_folder(evaluation(tmp_path, said), encoded(layout=PromptLayout(max_prompt_tokens=8)))
    assert not said and not list(tmp_path.rglob(SUPERSEDED))


def test_records_of_one_prompt_are_a_group_and_single_ones_none() -> None:
    same = [Record(id=f"t{k}", prompt="tell me one more tale", response=f"{k}") for k in range(2)]
    groups = groups_among([*RECORDS, *same])
    assert set(groups) == {"t0", "t1"} and groups["t0"] == groups["t1"]


def test_a_question_without_an_answer_has_no_reference() -> None:
    bare = dataclasses.replace(RECORDS[0], id="bare", response=" ")
    assert with_reference([bare, *RECORDS]) == RECORDS


def test_a_damaged_file_is_named_and_left(tmp_path: Path) -> None:
    file = tmp_path / "seed-1.parquet"
    file.write_bytes(b"PAR1 and no more")
    with pytest.raises(CheckpointError, match="Delete this file"):
        kept(file, read_table)
    assert file.read_bytes() == b"PAR1 and no more"
