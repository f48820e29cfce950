"""The plan: what each step reads, how far a training is, when it validates and when it ends."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest

from stillage.distill.batches import total_steps
from stillage.distill.checks import checked_task
from stillage.distill.training_plan import Plan


def plan(small: SimpleNamespace, total: int | None = None, **given: object) -> Plan:
    task = checked_task(small.task(**given))
    return Plan(
        task=task,
        examples=tuple(task.examples),
        total=total_steps(task.examples, task.options) if total is None else total,
        row_tokens=0,
        folder=Path("nowhere"),
        identity={},
        should_stop=lambda: False,
    )


@pytest.mark.parametrize(("records", "batch_size"), [(20, 8), (20, 1), (7, 7), (7, 30), (1, 8)])
def test_an_epoch_reads_every_record_once_and_the_next_in_another_order(
    small: SimpleNamespace, records: int, batch_size: int
) -> None:
    made = plan(small, examples=small.examples(records), batch_size=batch_size)
    epochs = [
        [
            example.record_id
            for step in range(epoch * made.per_epoch, (epoch + 1) * made.per_epoch)
            for example in made.step_examples(step)
        ]
        for epoch in range(2)
    ]
    assert all(sorted(ids) == made.record_ids for ids in epochs)
    assert epochs[0] != epochs[1] or records == 1


def test_a_record_that_occurs_twice_is_read_twice_and_named_once(small: SimpleNamespace) -> None:
    examples = small.examples(6)
    made = plan(small, examples=[*examples, examples[2]], batch_size=3)
    read = Counter(text.record_id for step in range(3) for text in made.step_examples(step))
    assert read.pop("r002") == 2 and set(read.values()) == {1}
    assert made.record_ids == [f"r{number:03d}" for number in range(6)]


def test_steps_end_a_training_or_trained_tokens_do(small: SimpleNamespace) -> None:
    by_steps = plan(small, max_steps=5)
    assert by_steps.total == 5 and by_steps.progress(3, 999) == 3
    assert not by_steps.is_over(4, 999) and by_steps.is_over(5, 0)
    assert by_steps.expected_steps(2, 10) == 5
    by_tokens = plan(small, max_trained_tokens=200, total=10)
    assert by_tokens.progress(3, 50) == 2.5
    assert not by_tokens.is_over(99, 199) and by_tokens.is_over(3, 200)
    assert by_tokens.expected_steps(0, 0) == 10, "nothing is known yet but the guess"
    assert by_tokens.expected_steps(3, 50) == 12
    assert by_tokens.expected_steps(9, 230) == 9, "never fewer than were made"


@pytest.mark.parametrize(
    ("every", "after"),
    [(1.0, {0, 3, 6, 9}), (0.5, {0, 2, 3, 5, 6, 8, 9}), (2.0, {0, 6, 9}), (0.0, set())],
)
def test_validations_are_at_the_start_at_the_end_and_every_so_many_epochs(
    small: SimpleNamespace, every: float, after: set[int]
) -> None:
    made = plan(small, epochs=3, validate_every=every)
    assert (made.per_epoch, made.total) == (3, 9)
    assert {done for done in range(10) if made.validates_after(done, last=done == 9)} == after


def test_without_validation_records_there_is_no_validation(small: SimpleNamespace) -> None:
    assert not plan(small, validation=[]).validates_after(0, last=True)
