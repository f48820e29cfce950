"""The identity of a training: every setting of a rollout is in it, no code is."""

from __future__ import annotations

import dataclasses
import json
from types import SimpleNamespace

import pytest

from stillage.distill.checks import checked_task
from stillage.distill.methods import METHODS
from stillage.distill.settings import params_from
from stillage.distill.training_identity import FREE, rollout_settings, training_identity
from stillage.types import DataRollout, StudentRollout, TeacherRollout


@pytest.mark.parametrize("method", METHODS)
def test_a_rollout_is_named_by_its_kind_and_its_settings(method: str) -> None:
    rollout = METHODS[method].rollout(params_from(METHODS[method], {}))
    settings = rollout_settings(rollout)
    assert settings == json.loads(json.dumps(settings)), "it goes into JSON"
    names = {field.name for field in dataclasses.fields(rollout)}
    assert settings.pop("kind") == type(rollout).__name__
    assert names - settings.keys() <= {"source", "validated", "annotate"}


def test_every_setting_of_a_rollout_changes_its_identity() -> None:
    seqkd, distillm = METHODS["seqkd"], METHODS["distillm"]
    teacher = seqkd.rollout(params_from(seqkd, {}))
    assert isinstance(teacher, TeacherRollout)
    for change in ({"beams": 2}, {"stop_after": ";"}, {"soft_targets": True}):
        other = dataclasses.replace(teacher, **change)
        assert rollout_settings(other) != rollout_settings(teacher)
    student = distillm.rollout(params_from(distillm, {}))
    assert isinstance(student, StudentRollout)
    for settings in ({"init_threshold": 0.5}, {"capacity": 9}, {"top_k": 3}, {"max_new_tokens": 9}):
        other = distillm.rollout(params_from(distillm, settings))
        assert rollout_settings(other) != rollout_settings(student), settings
    assert rollout_settings(DataRollout()) == {"kind": "DataRollout"}


def test_what_decides_memory_and_time_alone_is_not_in_it(small: SimpleNamespace) -> None:
    identity = training_identity(checked_task(small.task(method="gkd")))
    assert identity == json.loads(json.dumps(identity))
    assert not set(FREE) & identity.keys()
    assert identity["params"]["top_p"] == 1.0, "sampling settings have the names of their flags"
    other = training_identity(
        checked_task(small.task(method="gkd", micro_batch_size=2, packing=True))
    )
    assert other == identity
    assert training_identity(checked_task(small.task(method="gkd", lr_peak=1e-4))) != identity
