"""The BPE: lossless on any text, deterministic, with an end and a padding token of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from stillage.data.bpe import train_bpe
from stillage.data.synthetic import people
from stillage.errors import ConfigError, DataError

TEXTS = [record.prompt + record.response for record in people(1, 60)["public"]]
TOKENIZER = train_bpe(TEXTS, 600)


def test_size_and_special_tokens() -> None:
    assert len(TOKENIZER) == 600
    assert (TOKENIZER.eos_token, TOKENIZER.pad_token) == ("<|endoftext|>", "<|pad|>")
    assert TOKENIZER.eos_token_id != TOKENIZER.pad_token_id
    assert TOKENIZER.bos_token is None


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_any_text_comes_back_exactly(text: str) -> None:
    ids = TOKENIZER(text, split_special_tokens=True)["input_ids"]
    assert TOKENIZER.decode(ids) == text


def test_saved_and_loaded_it_is_the_same(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.is_fast
    assert (again.eos_token_id, again.pad_token_id) == (
        TOKENIZER.eos_token_id,
        TOKENIZER.pad_token_id,
    )
    sample = " Greta Q. Ulrich , isn't  there;\n\n badge 123456. é"
    assert again(sample)["input_ids"] == TOKENIZER(sample)["input_ids"]
    assert again.decode(again(sample)["input_ids"]) == sample


def test_two_processes_with_other_hash_seeds_and_threads_agree() -> None:
    code = (
        "from stillage.data.bpe import train_bpe; from stillage.data.synthetic import people; import hashlib\n"
        "texts = [r.prompt + r.response for r in people(1, 60)['public']]\n"
        "print(hashlib.sha256(train_bpe(texts, 600).backend_tokenizer.to_str().encode()).hexdigest())"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ
            | {
                "PYTHONHASHSEED": seed,
                "TOKENIZERS_PARALLELISM": parallel,
                "RAYON_NUM_THREADS": "3",
            },
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, parallel in (("1", "true"), ("2", "false"))
    }
    assert len(outputs) == 1


def test_bad_requests() -> None:
    with pytest.raises(ConfigError, match="asked: 257"):
        train_bpe(TEXTS, 257)
    with pytest.raises(DataError):
        train_bpe(["", ""], 300)


def test_a_small_corpus_gives_a_smaller_vocabulary_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level("WARNING", logger="stillage"):
        assert len(train_bpe(["ab"], 1000)) < 300
    assert "1000 asked for" in caplog.text
