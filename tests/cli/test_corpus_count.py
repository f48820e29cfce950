"""`corpus index` and `corpus count` as a user calls them: counts, places, and a 0 that explains itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from make_shards import make_shards

from stillage.cli import main
from stillage.corpus.shard_index import index_shards
from stillage.corpus.tokenizers import rules_hash
from stillage.models.load import load_tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

TEXTS = ["the day and the day", "day", ""]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PreTrainedTokenizerFast]:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<eos>"], initial_alphabet=letters
    )
    inner.train_from_iterator(TEXTS * 5, trainer)
    folder = str(tmp_path_factory.mktemp("tokenizer"))
    PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="<eos>").save_pretrained(folder)
    return folder, load_tokenizer(folder)


@pytest.fixture
def shards(tokenizer: tuple[str, PreTrainedTokenizerFast], tmp_path: Path) -> str:
    ids = [tokenizer[1](text, add_special_tokens=False)["input_ids"] for text in TEXTS]
    make_shards(
        tmp_path, ids, len(tokenizer[1]), shard_documents=1, tokenizer=rules_hash(tokenizer[1])
    )
    assert main(["corpus", "index", str(tmp_path)]) == 0
    return str(tmp_path)


def test_a_text_is_shown_as_its_tokens(
    shards: str, tokenizer: tuple[str, PreTrainedTokenizerFast], capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--text", "day", " day", "night", "--tokenizer", tokenizer[0]]
    assert main(["corpus", "count", shards, *given, "--positions", "1"]) == 0
    out = capsys.readouterr().out
    assert (
        '"day": 1 time\n  1 token: "day"=' in out and '" day": 2 times\n  1 token: " day"=' in out
    )
    assert "document 1, token 0 (d1; made, line 2)" in out
    assert '"night": 0 times' in out and "no document holds these tokens in this order" in out


def test_a_tokenizer_json_does_as_well(
    tmp_path: Path,
    tokenizer: tuple[str, PreTrainedTokenizerFast],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Without the hash of a tokenizer there is nothing to check; special tokens are shown too."""
    (day,) = tokenizer[1]("day", add_special_tokens=False)["input_ids"]
    index_shards(make_shards(tmp_path, [[day, 0]], 300, shard_documents=1))
    words = ["corpus", "count", str(tmp_path), "--tokenizer", f"{tokenizer[0]}/tokenizer.json"]
    assert main([*words, "--text", "day", "day<eos>", "--tokens", "299,5000"]) == 0
    out = capsys.readouterr().out
    assert '"day<eos>": 1 time\n  2 tokens: "day"=' in out and '"<eos>"=0' in out
    assert '"(unknown)"=5000' in out
    (tmp_path / "other.json").write_text("{}")
    assert main([*words[:-1], str(tmp_path / "other.json"), "--text", "day"]) == 2
    assert "is no tokenizer" in capsys.readouterr().err


def test_json_is_a_line_a_sequence(
    shards: str, tokenizer: tuple[str, PreTrainedTokenizerFast], capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    (day,) = tokenizer[1](" day", add_special_tokens=False)["input_ids"]
    words = ["corpus", "count", shards, "--tokens", str(day), f"-1,{day}", "99999999999999999999,0"]
    assert main([*words, ",".join(["1"] * 50), "--positions", "9", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["count"] for line in lines] == [2, 0, 0, 0]
    assert [place["start"] for place in lines[0]["positions"]] == [1, 4]
    assert lines[0]["positions"][0]["id"] == "d0"
    assert "id -1 is outside the vocabulary" in lines[1]["why"]
    assert "id 99999999999999999999 is outside" in lines[2]["why"]
    assert lines[3]["why"].startswith("it has 50 tokens, the longest document has ")


def test_what_is_made_already_is_not_made_again(
    shards: str, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert main(["corpus", "index", shards]) == 0
    assert "0 shards indexed, 3 were already" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "What is to be counted?"),
        (["--text", "a"], "--text without --tokenizer"),
        (["--tokens", "1,x"], "given: '1,x'"),
        (["--tokens", ""], "given: ''"),
        (["--tokens", "1", "--positions", "-1"], "--positions -1"),
    ],
)
def test_what_cannot_be_asked_is_three_lines(
    shards: str, given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "count", shards, *given]) == 2
    told_lines = capsys.readouterr().err.splitlines()
    assert told in " ".join(told_lines) and len(told_lines) == 3


def test_another_tokenizer_is_refused(
    tmp_path: Path,
    tokenizer: tuple[str, PreTrainedTokenizerFast],
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_shards(tmp_path, [[1]], 9, shard_documents=1, tokenizer="0" * 64)
    assert main(["corpus", "count", str(tmp_path), "--text", "a", "--tokenizer", tokenizer[0]]) == 2
    assert "another tokenizer" in capsys.readouterr().err
    assert main(["corpus", "count", str(tmp_path), "--tokens", "1"]) == 2
    assert "stillage corpus index" in capsys.readouterr().err
