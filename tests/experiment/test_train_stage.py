"""How long each model of a run is trained where some public records are prompts alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from stillage.experiment.specs import INIT, REFERENCE, ModelSpec
from stillage.experiment.train_stage import as_long_as_with_a_teacher
from stillage.run.config import ModelConfig, TrainConfig

TRAIN = TrainConfig(epochs=5, batch_size=8)


@pytest.mark.parametrize(("name", "steps"), [(REFERENCE, 35), (INIT, 0)])
def test_only_a_student_beside_the_distilled_one_takes_as_many_steps(name: str, steps: int) -> None:
    spec = ModelSpec(name=name, start=ModelConfig(), train=TRAIN, trained_on="public")
    assert as_long_as_with_a_teacher(spec, 10, 50) == replace(TRAIN, max_steps=steps)
    assert as_long_as_with_a_teacher(spec, 50, 50) == TRAIN
