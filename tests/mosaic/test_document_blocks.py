"""Blocks lie within a document, hold all of it, and train all but their first tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stillage.errors import ConfigError, DataError
from stillage.mosaic.document_blocks import document_blocks


@given(st.lists(st.integers(0, 25), min_size=1, max_size=6), st.integers(2, 9), st.integers(0, 2))
def test_blocks_hold_every_token_but_a_lone_last_one(
    lengths: list[int], block_tokens: int, start: int
) -> None:
    documents = [np.arange(length) + 100 * number for number, length in enumerate(lengths)]
    first_ids = [9999] * start
    whole = [[*first_ids, *ids_T.tolist()] for ids_T in documents]
    kept = [ids[: len(ids) - (len(ids) % block_tokens == 1)] for ids in whole]
    if not any(kept):
        with pytest.raises(DataError, match="too short"):
            document_blocks(documents, block_tokens, first_ids=first_ids)
        return
    blocks = document_blocks(documents, block_tokens, first_ids=first_ids)
    for number, ids in enumerate(kept):
        own = [block for block in blocks if block.record_id.startswith(f"{number}:")]
        assert [id_ for block in own for id_ in block.ids_T.tolist()] == ids
        assert all(len(block.ids_T) == block_tokens for block in own[:-1])
    for block in blocks:
        assert len(block.ids_T) >= 2 and block.ids_T.dtype == np.int32
        assert block.response_T.tolist() == [False] + [True] * (len(block.ids_T) - 1)
        document, place = map(int, block.record_id.split(":"))
        own = [id_ for id_ in block.ids_T.tolist() if id_ != 9999]
        assert own == documents[document][place : place + len(own)].tolist()
    assert len({block.record_id for block in blocks}) == len(blocks) or start >= block_tokens


def test_blocks_that_train_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="too short to train on"):
        document_blocks([np.arange(9)], 1)
