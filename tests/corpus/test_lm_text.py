"""Plain text beside a method: which blocks a step reads, what they weigh, and what is refused early."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from stillage.corpus.lm_text import (
    PACKED,
    PlainTextLoss,
    check_corpus_ahead,
    check_fits,
    open_corpus,
)
from stillage.corpus.tokenizers import first_ids, rules_hash, tokenizer_hash
from stillage.data.bpe import train_bpe
from stillage.distill.batches import micro_batches
from stillage.errors import ConfigError, DataError, ModelError
from stillage.run.config import LmConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS = [f"document {number} of the corpus" for number in range(30)]


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return train_bpe(TEXTS, 300)


@pytest.fixture
def config(tmp_path: Path) -> LmConfig:
    (tmp_path / "text.txt").write_text("\n".join(TEXTS) + "\n")
    path = str(tmp_path / "text.txt")
    return LmConfig(path=path, block_tokens=8, batch_size=5, coef=0.5)


def opened(config: LmConfig, tokenizer: PreTrainedTokenizerFast, folder: Path) -> PlainTextLoss:
    corpus = open_corpus(config, tokenizer, folder)
    assert corpus is not None
    return corpus


def test_a_text_is_packed_once_and_blocks_are_taken_as_they_are(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    corpus = opened(config, tokenizer, tmp_path)
    assert corpus.blocks.path == tmp_path / PACKED and corpus.blocks.documents == len(TEXTS)
    again = opened(replace(config, path=str(tmp_path / PACKED)), tokenizer, tmp_path / "other")
    assert again.identity() == corpus.identity() and not (tmp_path / "other").exists()
    assert open_corpus(LmConfig(), tokenizer, tmp_path) is None
    with pytest.raises(DataError, match="another tokenizer"):
        other = train_bpe(["quite another text"], 280)
        open_corpus(replace(config, path=str(tmp_path / PACKED)), other, tmp_path)


def test_the_processes_share_the_blocks_of_a_step(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    corpus = opened(config, tokenizer, tmp_path)
    alone = corpus.blocks_of_step(3, 7)
    shares = [micro_batches(alone, rank, 2, 2) for rank in (0, 1)]
    assert [[len(part) for part in share] for share in shares] == [[2, 1], [2]]
    ids = [example.record_id for share in shares for part in share for example in part]
    assert sorted(ids) == sorted(example.record_id for example in alone) and len(set(ids)) == 5
    assert corpus.tokens == sum(int(example.response_T.sum()) for example in alone) == 5 * 7
    assert corpus.weight(70) == 0.5 * 70 / 35


def test_what_would_stop_a_training_is_refused_ahead(
    config: LmConfig, tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    check_corpus_ahead(LmConfig(), tokenizer, 4)
    check_corpus_ahead(config, tokenizer, None)
    check_corpus_ahead(config, tokenizer, 8)
    with pytest.raises(ModelError, match="block: 8 tokens, context: 7"):
        check_corpus_ahead(config, tokenizer, 7)
    with pytest.raises(DataError, match="shorter than one block"):
        check_corpus_ahead(replace(config, block_tokens=10_000), tokenizer, None)
    for wrong in (replace(config, coef=0.0), replace(config, batch_size=0)):
        with pytest.raises(ConfigError, match="blocks and a weight"):
            check_corpus_ahead(wrong, tokenizer, None)
    corpus = opened(config, tokenizer, tmp_path)
    check_fits(corpus, 8, corpus.blocks.vocab_size)
    check_fits(corpus, None, corpus.blocks.vocab_size)
    with pytest.raises(ModelError, match="vocabulary"):
        check_fits(corpus, 8, corpus.blocks.vocab_size - 1)


def test_a_tokenizer_is_named_by_what_it_decides(tokenizer: PreTrainedTokenizerFast) -> None:
    rules, whole = rules_hash(tokenizer), tokenizer_hash(tokenizer)
    other = train_bpe(TEXTS, 300)
    other.chat_template = "{{ messages }}"
    assert rules_hash(other) == rules and tokenizer_hash(other) != whole
    assert tokenizer_hash(other, chat_template=False) == tokenizer_hash(
        tokenizer, chat_template=False
    )
    other("a long text", truncation=True, max_length=1)
    assert rules_hash(other) == rules, "what a call sets does not count"
    assert first_ids(tokenizer) == []
