"""Files of blocks: a stream cut once, documents that are remembered, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from stillage.corpus.token_blocks import block_example, block_numbers, open_blocks, write_blocks
from stillage.corpus.token_file import HEADER, open_tokens
from stillage.errors import ConfigError, DataError

DOCUMENTS = [np.array(ids) for ids in ([1, 2, 3, 0], [4, 0], [5, 6, 7, 8, 0])]


def test_documents_are_remembered_where_a_block_holds_their_start(tmp_path: Path) -> None:
    made = write_blocks(tmp_path / "b", DOCUMENTS, block_tokens=3, vocab_size=9)
    assert made.blocks_NT.tolist() == [[1, 2, 3], [0, 4, 0], [5, 6, 7]]
    assert made.document_starts_D.tolist() == [0, 4, 6]
    assert (made.documents, made.dropped_tokens, made.block_tokens) == (3, 2, 3)
    shorter = write_blocks(tmp_path / "c", DOCUMENTS, block_tokens=6, vocab_size=9)
    assert shorter.document_starts_D.tolist() == [0, 4] and shorter.documents == 3
    assert "3 blocks of 3 tokens (uint16) from 3 documents; 2 tokens" in made.summary()


def test_the_file_is_one_that_others_can_read(tmp_path: Path) -> None:
    write_blocks(tmp_path / "b", DOCUMENTS, block_tokens=4, vocab_size=70_000)
    tensors = load_file(tmp_path / "b")
    assert tensors["tokens"].dtype == np.uint32 and tensors["tokens"].shape == (11,)
    assert tensors["offsets"].tolist() == [0, 4, 6, 11]
    size = (tmp_path / "b").stat().st_size
    assert size == 8 + HEADER + 11 * 4 + 4 * 8, "header, tokens, offsets, and nothing else"
    file = open_tokens(tmp_path / "b")
    assert file.tokens_T[file.offsets_D[1] : file.offsets_D[2]].tolist() == [4, 0]


def test_equal_documents_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_blocks(tmp_path / name, iter(DOCUMENTS), block_tokens=4, vocab_size=9)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("ids", [[1, 9], [-1, 2]])
def test_an_id_outside_the_vocabulary_leaves_no_file(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(DataError, match="outside the vocabulary") as caught:
        write_blocks(tmp_path / "b", [DOCUMENTS[0], np.array(ids)], block_tokens=2, vocab_size=9)
    assert "document 1: ids from" in caught.value.values and "vocabulary: 9" in caught.value.values
    assert list(tmp_path.iterdir()) == []


def test_too_little_text_or_too_short_a_block_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="11 tokens in 3 documents; block_tokens: 12"):
        write_blocks(tmp_path / "b", DOCUMENTS, block_tokens=12, vocab_size=9)
    with pytest.raises(ConfigError, match="block_tokens: 1"):
        write_blocks(tmp_path / "b", DOCUMENTS, block_tokens=1, vocab_size=9)


def test_a_file_knows_its_tokenizer_and_what_it_is(tmp_path: Path) -> None:
    path = tmp_path / "b"
    write_blocks(path, DOCUMENTS, block_tokens=4, vocab_size=9, tokenizer="f" * 64)
    assert open_blocks(path, tokenizer="f" * 64).tokenizer == "f" * 64
    with pytest.raises(DataError, match=r"ffffffffffff; the model's: eeeeeeeeeeee"):
        open_blocks(path, tokenizer="e" * 64)
    write_blocks(path, DOCUMENTS, block_tokens=4, vocab_size=9)
    assert open_blocks(path, tokenizer="e" * 64).vocab_size == 9, "made without one: any will do"
    save_file({"blocks": np.zeros((1, 2))}, path)
    with pytest.raises(DataError, match="format None"):
        open_blocks(path)
    save_file({"blocks": np.zeros((1, 2))}, path, {"format": "stillage blocks 1"})
    with pytest.raises(DataError, match=r"earlier version[\s\S]*Pack the corpus again"):
        open_blocks(path)
    path.write_bytes(b"short")
    with pytest.raises(DataError, match="damaged"):
        open_blocks(path)
    with pytest.raises(DataError, match="There is no file of blocks"):
        open_blocks(tmp_path / "absent")


@given(
    st.lists(st.lists(st.integers(0, 99), max_size=7), min_size=1, max_size=9), st.integers(2, 5)
)
def test_any_documents_are_the_stream_but_for_its_end(
    tmp_path_factory: pytest.TempPathFactory, documents: list[list[int]], length: int
) -> None:
    stream = [token for ids in documents for token in ids]
    path = tmp_path_factory.mktemp("blocks") / "b"
    arrays = [np.array(ids, dtype=np.int64) for ids in documents]
    if len(stream) < length:
        with pytest.raises(DataError):
            write_blocks(path, arrays, block_tokens=length, vocab_size=100)
        return
    made = write_blocks(path, arrays, block_tokens=length, vocab_size=100)
    assert made.blocks_NT.ravel().tolist() == stream[: len(stream) - made.dropped_tokens]
    assert made.dropped_tokens == len(stream) % length and made.documents == len(documents)


def test_an_example_is_a_block_of_its_own_number(tmp_path: Path) -> None:
    made = write_blocks(tmp_path / "b", DOCUMENTS, block_tokens=4, vocab_size=9)
    example = block_example(made, 1)
    assert example.record_id == "block-1" and example.ids_T.tolist() == [4, 0, 5, 6]
    assert example.ids_T.dtype == np.int32 and example.response_T.tolist() == [False, *[True] * 3]


def test_another_epoch_has_another_order_of_the_same_blocks() -> None:
    epoch = [block_numbers(step, 2, 6, 7).tolist() for step in range(3)]
    assert sorted(number for step in epoch for number in step) == list(range(6))
    again = [block_numbers(step, 2, 6, 7).tolist() for step in range(3, 6)]
    assert again != epoch and sorted(np.ravel(again)) == sorted(np.ravel(epoch))
