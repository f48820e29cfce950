"""Packing: every token of every document once, in blocks that a seed orders; examples side by side, whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from stillage.cli import plain_text as cli
from stillage.corpus.pack import pack_corpus
from stillage.corpus.token_blocks import block_example, block_numbers, open_blocks, write_blocks
from stillage.corpus.tokenizers import rules_hash
from stillage.data.bpe import train_bpe
from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS = [
    "the cat sat on the mat",
    "a dog",
    "<|endoftext|> is only a spelling here",
    "rain\nand rain again",
]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe(TEXTS, 300)


def reference_stream(tokenizer: PreTrainedTokenizerFast, texts: list[str]) -> list[int]:
    """Each text alone through the tokenizer's own backend, special tokens as text, EOS after each."""
    stream: list[int] = []
    for text in texts:
        stream += [
            *tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True),
            tokenizer.eos_token_id,
        ]
    return stream


def test_blocks_are_the_stream_cut(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    stream = reference_stream(tokenizer, TEXTS)
    blocks = pack_corpus(iter(TEXTS), tokenizer, tmp_path / "b.safetensors", block_tokens=8)
    count = len(stream) // 8
    assert blocks.blocks_NT.tolist() == np.array(stream[: count * 8]).reshape(count, 8).tolist()
    assert (blocks.dropped_tokens, blocks.documents, blocks.block_tokens) == (len(stream) % 8, 4, 8)
    assert blocks.blocks_NT.dtype == np.uint16 and blocks.tokenizer == rules_hash(tokenizer)
    assert stream.count(tokenizer.eos_token_id) == len(TEXTS)
    assert f"{len(stream) % 8} tokens of the last, partial block left out" in blocks.summary()
    tensors = load_file(tmp_path / "b.safetensors")  # any reader opens it
    assert tensors["tokens"].tolist() == stream, "the tail stays in the file"
    ends = tensors["offsets"][1:].astype(int) - 1
    assert {stream[end] for end in ends} == {tokenizer.eos_token_id} and len(ends) == len(TEXTS)


def test_the_released_scripts_keep_the_newline(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    path = tmp_path / "b.safetensors"
    blocks = pack_corpus(TEXTS, tokenizer, path, block_tokens=5, newline_before_end=True)
    stream = reference_stream(tokenizer, [text + "\n" for text in TEXTS])
    assert blocks.blocks_NT.ravel().tolist() == stream[: len(stream) // 5 * 5]


@settings(deadline=None, max_examples=50)
@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=30), block_tokens=st.integers(2, 12)
)
def test_any_documents(
    lengths: list[int], block_tokens: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("blocks") / "b.safetensors"
    stream = np.arange(sum(lengths)) + 70000
    documents = np.split(stream, np.cumsum(lengths)[:-1])
    count = len(stream) // block_tokens
    if not count:
        with pytest.raises(
            DataError,
            match=rf"{len(stream)} tokens in {len(lengths)} documents; block_tokens: {block_tokens}",
        ):
            write_blocks(path, documents, block_tokens=block_tokens, vocab_size=80000)
        assert not path.exists()
        return
    blocks = write_blocks(path, documents, block_tokens=block_tokens, vocab_size=80000)
    assert blocks.blocks_NT.dtype == np.uint32
    assert blocks.blocks_NT.ravel().tolist() == stream[: count * block_tokens].tolist()
    owner = np.repeat(np.arange(len(lengths)), lengths)[: count * block_tokens]
    found = (
        np.searchsorted(blocks.document_starts_D, np.arange(count * block_tokens), side="right") - 1
    )
    assert found.tolist() == owner.tolist()


@pytest.mark.parametrize(("vocab_size", "kind"), [(65536, np.uint16), (65537, np.uint32)])
def test_the_width_follows_the_vocabulary(vocab_size: int, kind: type, tmp_path: Path) -> None:
    blocks = write_blocks(
        tmp_path / "b", [np.array([0, vocab_size - 1])], block_tokens=2, vocab_size=vocab_size
    )
    assert blocks.blocks_NT.dtype == kind and blocks.blocks_NT.tolist() == [[0, vocab_size - 1]]


def test_a_block_is_trained_whole_but_its_first_token(tmp_path: Path) -> None:
    example = block_example(
        write_blocks(tmp_path / "b", [np.arange(7)], block_tokens=3, vocab_size=7), 1
    )
    assert example.ids_T.tolist() == [3, 4, 5] and example.ids_T.dtype == np.int32
    assert example.response_T.tolist() == [False, True, True] and example.record_id == "block-1"


def test_every_block_once_per_epoch_in_an_order_of_seed_and_epoch() -> None:
    drawn = np.concatenate([block_numbers(step, 3, 7, seed=1) for step in range(7)])
    epochs = drawn.reshape(3, 7)
    assert all(sorted(epoch.tolist()) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3
    assert block_numbers(4, 3, 7, seed=1).tolist() == drawn[12:15].tolist()  # no state
    assert block_numbers(0, 7, 7, seed=2).tolist() != epochs[0].tolist()
    assert sorted(np.concatenate([block_numbers(step, 1, 7, seed=1) for step in range(7)])) == list(
        range(7)
    )


def test_files_that_are_no_blocks(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    path = tmp_path / "b.safetensors"
    with pytest.raises(DataError, match="no file of blocks"):
        open_blocks(path)
    write_blocks(path, [np.arange(20)], block_tokens=4, vocab_size=20, tokenizer="abc")
    assert open_blocks(path, tokenizer="abc").vocab_size == 20
    with pytest.raises(DataError, match="another tokenizer"):
        open_blocks(path, tokenizer=rules_hash(tokenizer))
    whole = path.read_bytes()
    for damaged in (whole[:-1], whole[:10], b"", whole + b"\0"):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="damaged"):
            open_blocks(path)
    from safetensors.numpy import save_file

    save_file({"x": np.zeros(3)}, path)
    with pytest.raises(DataError, match="does not hold blocks"):
        open_blocks(path)


def test_what_cannot_be_packed(tokenizer: PreTrainedTokenizerFast, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="block_tokens: 1"):
        pack_corpus(TEXTS, tokenizer, tmp_path / "b", block_tokens=1)
    with pytest.raises(
        DataError, match=r"shorter than one block[\s\S]*0 tokens in 0 documents; block_tokens: 64"
    ):
        pack_corpus([], tokenizer, tmp_path / "b", block_tokens=64)
    with pytest.raises(DataError, match="ids from 1 to 5; vocabulary: 5"):
        write_blocks(tmp_path / "b", [np.array([1, 5])], block_tokens=2, vocab_size=5)
    assert list(tmp_path.iterdir()) == []


def test_pack_by_the_command_line(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer.save_pretrained(tmp_path / "model")
    (tmp_path / "corpus.txt").write_text("the cat<@x(x!>sat\na dog\n")
    out = tmp_path / "b.safetensors"
    words = [
        "pack",
        str(tmp_path / "corpus.txt"),
        str(out),
        "--tokenizer",
        str(tmp_path / "model"),
        "--block-tokens",
        "4",
    ]
    assert cli.main("data", words) == 0
    stream = reference_stream(tokenizer, ["the cat\nsat", "a dog"])
    assert f"{len(stream) // 4} blocks of 4 tokens" in capsys.readouterr().out
    opened = open_blocks(out, tokenizer=rules_hash(tokenizer))
    assert opened.blocks_NT.ravel().tolist() == stream[: len(stream) // 4 * 4]
