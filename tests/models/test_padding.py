"""Batches against what they are made of: nothing is lost, moved or seen by a neighbour."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from stillage.models.padding import (
    collate,
    collate_packed,
    join_examples,
    packed_inputs,
    pad,
    split_rows,
)
from stillage.types import Example

CPU = torch.device("cpu")


def example(name: str, ids: list[int], prompt: int) -> Example:
    """Tokens of which the first `prompt` are not trained; each trained one has a number of its own."""
    trained = np.arange(len(ids)) >= prompt
    return Example(
        record_id=name,
        ids_T=np.array(ids, np.int32),
        response_T=trained,
        extras={"weight": np.array(ids, np.float32)[trained]},
    )


ROWS = [example("a", [5, 6, 7, 8], 2), example("b", [9, 4], 1), example("c", [3, 2, 1], 3)]


@pytest.mark.parametrize("left", [False, True])
def test_rows_stand_at_one_side_and_what_is_real_is_told(left: bool) -> None:
    rows = [np.array([1, 0, 3]), np.array([7])]
    ids_BS, real_BS = pad(rows, fill=9, left=left)
    assert ids_BS.dtype == real_BS.dtype == np.int64
    for ids, row, real in zip(ids_BS, rows, real_BS, strict=True):
        assert row.tolist() == ids[real == 1].tolist() and (ids[real == 0] == 9).all()
        assert real[-1 if left else 0] == 1


def test_each_label_is_predicted_one_token_before_it() -> None:
    batch = collate(ROWS, CPU)
    flat = batch.ids_BS.flatten().tolist()
    assert [flat[place + 1] for place in batch.positions_T.tolist()] == batch.labels_T.tolist()
    assert batch.labels_T.tolist() == [7, 8, 4]
    assert batch.extras["weight"].tolist() == [7.0, 8.0, 4.0]
    assert batch.record_ids == ("a", "b", "c")
    assert batch.attention_BS is not None and batch.attention_BS.sum().item() == 4 + 2 + 3


def test_rows_of_one_length_have_no_mask() -> None:
    assert collate([ROWS[0], ROWS[0]], CPU).attention_BS is None


def test_a_process_without_records_trains_nothing() -> None:
    batch = collate(ROWS, CPU, trained=False)
    assert len(batch.labels_T) == len(batch.positions_T) == len(batch.extras["weight"]) == 0
    assert batch.ids_BS.shape == (3, 4)


def test_numbers_of_a_batch_are_cut_into_those_of_each_row() -> None:
    batch = collate(ROWS, CPU)
    parts = split_rows(batch, np.array([[1, 2, 3], [4, 5, 6]]))
    assert [part.tolist() for part in parts] == [[[1, 2], [4, 5]], [[3], [6]], [[], []]]


def test_packing_keeps_every_token_and_label_and_says_whose_it_is() -> None:
    batch = collate_packed(ROWS, CPU, row_tokens=6)
    assert batch.documents_BS is not None and batch.ids_BS.shape == (2, 6)
    found = {}
    for number, (ids, documents) in enumerate(
        zip(batch.ids_BS.tolist(), batch.documents_BS.tolist(), strict=True)
    ):
        for document in sorted({one for one in documents if one >= 0}):
            tokens = [k for k, one in zip(ids, documents, strict=True) if one == document]
            found[number, document] = tokens
    assert sorted(found.values()) == sorted(row.ids_T.tolist() for row in ROWS)
    assert sorted(batch.labels_T.tolist()) == [4, 7, 8]
    assert batch.extras["weight"].tolist() == [float(one) for one in batch.labels_T.tolist()]
    assert sorted(batch.record_ids) == ["a", "b", "c"]


def test_a_record_longer_than_a_row_has_one_of_its_own() -> None:
    batch = collate_packed(ROWS, CPU, row_tokens=2)
    assert batch.ids_BS.shape[1] == 4 and batch.record_ids[0] == "a"


def test_joined_examples_train_what_each_trains() -> None:
    both = join_examples(ROWS[:2])
    assert both.ids_T.tolist() == [5, 6, 7, 8, 9, 4]
    assert both.response_T.tolist() == [False, False, True, True, False, True]


def test_a_packed_document_sees_itself_alone_from_position_0() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, -1]])
    inputs = packed_inputs(documents, torch.float32)
    assert inputs["position_ids"].tolist() == [[0, 1, 0, 1, 2, 0]]
    seen = (inputs["attention_mask"][0, 0] == 0).tolist()
    for i in range(6):
        for j in range(6):
            assert seen[i][j] == (j <= i and documents[0, i] == documents[0, j])
