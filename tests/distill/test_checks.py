"""What a task becomes before its training: by its method, without what trains nothing."""

from __future__ import annotations

import dataclasses
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from stillage.distill.checks import checked_task
from stillage.errors import CapabilityError, ConfigError, ModelError
from stillage.types import Example

EMPTY = Example(record_id="empty", ids_T=np.array([1, 2]), response_T=np.array([False, False]))


def test_a_task_keeps_the_teacher_that_its_method_asks(small: SimpleNamespace) -> None:
    assert checked_task(small.task(method="kd")).teacher is not None
    assert checked_task(small.task(method="sft")).teacher is None
    alone = {"kd_weight": 0.0, "ce_weight": 1.0}
    assert checked_task(small.task(method="kd", settings=alone)).teacher is None


def test_the_teacher_of_seqkd_writes_and_is_a_target_only_with_soft_targets(
    small: SimpleNamespace,
) -> None:
    hard = checked_task(small.task(method="seqkd"))
    assert hard.teacher is not None and hard.target_teacher is None
    soft = checked_task(small.task(method="seqkd", settings={"kd_weight": 1.0}))
    assert soft.target_teacher is soft.teacher is not None


def test_a_method_decides_its_budget(small: SimpleNamespace) -> None:
    options = checked_task(small.task(method="init", settings={"epochs": 5}, epochs=1)).options
    assert (options.epochs, options.keep, options.keep_by) == (5, "best", "loss")
    assert options == dataclasses.replace(small.options, epochs=5, keep="best", keep_by="loss")


def test_examples_stand_by_id_without_those_that_train_nothing(
    small: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    examples, validation = small.examples(5)[::-1], small.examples(3, name="v")
    with caplog.at_level(logging.WARNING, "stillage"):
        task = checked_task(
            small.task(examples=[*examples, EMPTY], validation=[EMPTY, *validation])
        )
    assert [one.record_id for one in task.examples] == [f"r{number:03d}" for number in range(5)]
    assert [one.record_id for one in task.validation] == ["v000", "v001", "v002"]
    assert caplog.text.count("1 of 6 examples") == 1


def test_the_task_that_is_given_stays_as_it_was(small: SimpleNamespace) -> None:
    task = small.task(method="init", examples=[EMPTY, *small.examples(3)])
    before = (task.teacher, task.options, list(task.examples))
    checked_task(task)
    assert (task.teacher, task.options, list(task.examples)) == before


@pytest.mark.parametrize("which", ["examples", "validation"])
def test_a_text_that_a_model_cannot_read_is_refused(small: SimpleNamespace, which: str) -> None:
    long = Example(record_id="big", ids_T=np.arange(40) % 9, response_T=np.arange(40) > 3)
    with pytest.raises(
        ModelError, match=r"student's context\.\nrecord big: 40 tokens; context: 32"
    ):
        checked_task(small.task(**{which: [long]}))


def test_a_missing_teacher_and_an_impossible_choice_of_weights_are_refused(
    small: SimpleNamespace,
) -> None:
    task = dataclasses.replace(small.task(method="kd"), teacher=None)
    with pytest.raises(CapabilityError, match="kd needs a teacher"):
        checked_task(task)
    with pytest.raises(ConfigError, match="validate_every = 0, validation records: 6"):
        checked_task(small.task(keep="best", validate_every=0))
