"""How long each model of a run is trained where some public records are prompts alone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

import stillage.experiment.train_stage as stage
from stillage.experiment.roles import INIT, REFERENCE, ModelRole
from stillage.run.config import ModelConfig, TrainConfig
from stillage.types import Record

TRAIN = TrainConfig(epochs=5, batch_size=8)
RUN = cast("Any", SimpleNamespace())


@pytest.mark.parametrize(("name", "steps"), [(REFERENCE, 35), (INIT, 0)])
def test_only_a_student_beside_the_distilled_one_takes_as_many_steps(
    name: str, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stage, "records_of", lambda context, role: [Record(id="", prompt="q", response="")] * 50)
    role = ModelRole(name=name, start=ModelConfig(), train=TRAIN, trained_on="public")
    assert stage.as_long_as_with_a_teacher(RUN, role, 10) == replace(TRAIN, max_steps=steps)
    assert stage.as_long_as_with_a_teacher(RUN, role, 50) == TRAIN
