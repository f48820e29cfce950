"""Students by every method, on public windows drawn by seed."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.distill.methods import METHODS
from stillage.errors import ConfigError, DataError
from stillage.mosaic.canary_reading import ModelReader
from stillage.mosaic.measured import ConditionMeasures
from stillage.mosaic.students import StudentTask, StudentWindows, public_examples, run_student
from stillage.mosaic.train_condition import MONITORED, Watch
from stillage.run.config import TrainConfig
from stillage.run.folder import read_table


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.integers(0, 99))
def test_windows_lie_within_a_document_and_all_places_can_be_drawn(
    lengths: list[int], seed: int
) -> None:
    documents = [np.arange(length) + 100 * number for number, length in enumerate(lengths)]
    places = sum(max(0, length - 4) for length in lengths)
    if not places:
        with pytest.raises(DataError, match="too little public text"):
            public_examples(
                documents, StudentWindows(count=1, prompt_tokens=2, response_tokens=3), seed
            )
        return
    windows = StudentWindows(count=places, prompt_tokens=2, response_tokens=3)
    examples, validation = public_examples(documents, windows, seed)
    assert len({example.record_id for example in examples}) == places and not validation
    for example in examples:
        document, start = map(int, example.record_id.split(":"))
        assert example.ids_T.tolist() == documents[document][start : start + 5].tolist()
        assert example.response_T.tolist() == [False] * 2 + [True] * 3


def test_windows_are_drawn_by_seed_and_validation_apart() -> None:
    documents = [np.arange(200)]
    windows = StudentWindows(count=5, validation=3, prompt_tokens=4, response_tokens=4)
    drawn = [
        [[one.record_id for one in part] for part in public_examples(documents, windows, seed)]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert [len(part) for part in drawn[0]] == [5, 3] and not {*drawn[0][0]} & {*drawn[0][1]}
    with pytest.raises(ConfigError, match="prompts and responses"):
        public_examples(documents, StudentWindows(prompt_tokens=0), 1)


def student(case: SimpleNamespace, method: str, **given: object) -> StudentTask:
    measured = ConditionMeasures(canaries=case.canaries, recites=False)
    return StudentTask(
        start=ModelReader(model=case.model(case.tokenizer, 2), tokenizer=case.tokenizer),
        teacher=case.model(case.tokenizer, 1),
        public=case.public,
        method=method,
        windows=StudentWindows(count=8, prompt_tokens=4, response_tokens=6, validation=2),
        options=TrainConfig(epochs=1, batch_size=4, checkpoint_every_s=1e9),
        seed=3,
        measured=measured,
        **given,
    )


@pytest.mark.parametrize("method", [*METHODS])
def test_every_method_trains_a_student_and_scores_its_teachers_canaries(
    case: SimpleNamespace, tmp_path: Path, method: str
) -> None:
    params = {"beams": "2"} if method == "seqkd" else {}
    run_student(student(case, method, params=params), tmp_path, Watch())
    assert read_table(tmp_path / "scores.parquet").num_rows == case.canaries.num_rows
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum("tokens" in line for line in lines) >= 2 and MONITORED in lines[-1]
    longest = max(line.get("tokens", 0) for line in lines)
    assert 0 < longest <= 4 * (6 + 1)  # texts that models write are no longer, but for their end
    assert read_table(tmp_path / "monitor.parquet").num_rows == 1
    assert not (tmp_path / "model").exists() and not (tmp_path / "best").exists()


def test_unknown_methods_and_settings_are_refused(case: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no method"):
        run_student(student(case, "kdd"), tmp_path, Watch())
    with pytest.raises(ConfigError, match="no setting"):
        run_student(student(case, "kd", params={"max_tokens": "3"}), tmp_path, Watch())
