from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from stillage.distill.batches import (
    as_long_as_with_a_teacher,
    canonical,
    fingerprint,
    micro_batches,
    records_of_step,
    steps_per_epoch,
    total_steps,
    trained_tokens,
)
from stillage.models.padding import collate
from stillage.run.config import TrainConfig
from stillage.types import Example

CPU = torch.device("cpu")


@given(
    records=st.integers(1, 60),
    batch=st.integers(1, 20),
    seed=st.integers(0, 3),
    epoch=st.integers(0, 2),
)
def test_every_record_is_trained_exactly_once_per_epoch(
    records: int, batch: int, seed: int, epoch: int
) -> None:
    steps = steps_per_epoch(records, batch)
    parts = [records_of_step(epoch * steps + step, records, batch, seed) for step in range(steps)]
    assert sorted(np.concatenate(parts)) == list(range(records))
    sizes = {len(part) for part in parts}
    assert max(sizes) <= batch and max(sizes) - min(sizes) <= 1


def test_order_changes_with_seed_and_epoch_and_with_nothing_else() -> None:
    first = [records_of_step(step, 40, 8, 1).tolist() for step in range(5)]
    assert first == [records_of_step(step, 40, 8, 1).tolist() for step in range(5)]
    assert first != [records_of_step(step, 40, 8, 2).tolist() for step in range(5)]
    assert first != [records_of_step(step, 40, 8, 1).tolist() for step in range(5, 10)]


def test_file_order_does_not_matter(small: SimpleNamespace) -> None:
    examples = small.examples(12)
    shuffled = [examples[k] for k in np.random.default_rng(0).permutation(12)]
    assert fingerprint(canonical(shuffled)) == fingerprint(canonical(examples))
    assert fingerprint(canonical(examples[1:])) != fingerprint(canonical(examples))


def test_fingerprint_sees_every_token_and_every_mask(small: SimpleNamespace) -> None:
    example = small.examples(1)[0]
    other_ids = Example(
        record_id=example.record_id, ids_T=example.ids_T + 1, response_T=example.response_T
    )
    other_mask = Example(
        record_id=example.record_id, ids_T=example.ids_T, response_T=~example.response_T
    )
    assert len({fingerprint([e]) for e in (example, other_ids, other_mask)}) == 3


@given(count=st.integers(1, 20), ranks=st.integers(1, 5), size=st.integers(0, 6))
def test_processes_and_micro_batches_share_a_step_without_loss(
    count: int, ranks: int, size: int
) -> None:
    examples = [
        Example(record_id=str(k), ids_T=np.arange(2 + k % 5), response_T=np.arange(2 + k % 5) > 0)
        for k in range(count)
    ]
    shares = [micro_batches(examples, rank, ranks, size) for rank in range(ranks)]
    dealt = [example.record_id for share in shares for part in share for example in part]
    assert sorted(dealt) == sorted(example.record_id for example in examples)
    assert all(0 < len(part) <= (size or count) for share in shares for part in share)
    assert max(sum(map(len, share)) for share in shares) <= math.ceil(count / ranks)


@given(st.data())
def test_collate_predicts_each_response_token_from_the_one_before(data: st.DataObject) -> None:
    """Oracle: walk over rows and columns in plain Python."""
    examples = []
    for number in range(data.draw(st.integers(1, 4))):
        length = data.draw(st.integers(1, 7))
        ids = np.array(data.draw(st.lists(st.integers(0, 9), min_size=length, max_size=length)))
        mask = np.array(data.draw(st.lists(st.booleans(), min_size=length, max_size=length)))
        examples.append(Example(record_id=str(number), ids_T=ids, response_T=mask))
    batch = collate(examples, CPU)
    width = max(len(example.ids_T) for example in examples)
    expected = [
        (row * width + column - 1, int(example.ids_T[column]))
        for row, example in enumerate(examples)
        for column in range(1, len(example.ids_T))
        if example.response_T[column]
    ]
    assert list(zip(batch.positions_T.tolist(), batch.labels_T.tolist(), strict=True)) == expected
    assert len(expected) == sum(map(trained_tokens, examples))
    attention = batch.attention_BS
    lengths = [len(example.ids_T) for example in examples]
    assert (
        [width] * len(lengths) == lengths
        if attention is None
        else attention.sum(1).tolist() == lengths
    )
    for row, example in enumerate(examples):
        assert batch.ids_BS[row, : len(example.ids_T)].tolist() == example.ids_T.tolist()


def test_an_idle_process_trains_nothing(small: SimpleNamespace) -> None:
    assert collate(small.examples(2), CPU, trained=False).labels_T.numel() == 0


def test_budget(small: SimpleNamespace) -> None:
    twenty = small.examples(20)
    assert total_steps(twenty, TrainConfig(epochs=2, batch_size=8)) == 6
    assert total_steps(twenty, TrainConfig(epochs=0.5, batch_size=2)) == 5
    assert total_steps(twenty, TrainConfig(epochs=0.001, batch_size=8)) == 1
    assert total_steps(twenty, TrainConfig(epochs=0, batch_size=8)) == 0
    assert total_steps(twenty, TrainConfig(epochs=2, batch_size=8, max_steps=99)) == 99
    per_step = 8 * sum(map(trained_tokens, twenty)) / 20
    assert (
        total_steps(twenty, TrainConfig(batch_size=8, max_trained_tokens=round(10 * per_step) - 1))
        == 10
    )


def test_a_student_with_fewer_answers_than_prompts_takes_the_steps_of_one_with_a_teacher() -> None:
    by_epochs, by_steps = TrainConfig(epochs=5, batch_size=8), TrainConfig(max_steps=3)
    assert as_long_as_with_a_teacher(by_epochs, 10, 50) == replace(by_epochs, max_steps=35)
    assert as_long_as_with_a_teacher(by_epochs, 50, 50) == by_epochs
    assert as_long_as_with_a_teacher(by_steps, 10, 50) == by_steps
