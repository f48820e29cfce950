"""`stillage corpus tokenize`: as a user calls it, stopped and killed as a user's machine does it."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from stillage.cli import main
from stillage.cli.board import facts_in_words
from stillage.corpus.shards import open_shards
from stillage.corpus.tokenizers import rules_hash
from stillage.run.folder import list_files, sha256_file

Printed = pytest.CaptureFixture[str]
WORDS = [f"w{k}" for k in range(50)]


def content(out: Path) -> dict[str, str]:
    return {path.relative_to(out).as_posix(): sha256_file(path) for path in list_files(out)}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> str:
    made = Tokenizer(
        models.WordLevel({word: k for k, word in enumerate(["?", *WORDS])}, unk_token="?")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return str(path)


def texts(path: Path, count: int, words: int) -> str:
    rng = random.Random(5)
    lines = (json.dumps({"text": " ".join(rng.choices(WORDS, k=words))}) for _ in range(count))
    path.write_text("\n".join(lines))
    return str(path)


def refused(words: list[str], printed: Printed, *said: str) -> None:
    assert main(["corpus", "tokenize", *words]) == 2
    lines = printed.readouterr().err.splitlines()
    assert len(lines) == 3 and lines[0].startswith("stillage: "), lines
    assert not [word for word in said if word not in "\n".join(lines)], lines


def test_a_models_folder_gives_the_hash_that_the_model_has(tmp_path: Path, capsys: Printed) -> None:
    from stillage.data.bpe import train_bpe
    from stillage.models.load import load_tokenizer

    train_bpe(["rain and rain again " * 20], 270).save_pretrained(tmp_path / "model")
    (tmp_path / "a.txt").write_text("rain <|endoftext|> again")
    words = ["corpus", "tokenize", str(tmp_path / "a.txt")]
    model = load_tokenizer(str(tmp_path / "model"))
    for place, name in (("model", "a"), ("model/tokenizer.json", "b")):
        out = tmp_path / name
        assert main([*words, str(out), "--tokenizer", str(tmp_path / place)]) == 0
        corpus = open_shards(out)
        assert corpus.tokenizer == rules_hash(model) and corpus.vocab_size == len(model)
        ids = model.encode(
            "rain <|endoftext|> again", add_special_tokens=False, split_special_tokens=True
        )
        assert corpus.shards[0].tokens_T.tolist() == ids and model.eos_token_id not in ids
    assert f"1 document (0 empty), {len(ids)} tokens in 1 shard: {out}" in capsys.readouterr().out


def test_bad_rows_are_counted_on_the_screen(
    tmp_path: Path, tokenizer: str, capsys: Printed
) -> None:
    path, out = tmp_path / "a.jsonl", tmp_path / "out"
    path.write_text('{"text": "w1"}\n\n{"text": "ab\n{"text": "w2"}')
    words = [str(path), str(out), "--tokenizer", tokenizer]
    refused(words, capsys, "a.jsonl, line 3: broken JSON", "--max-bad")
    assert not out.exists()
    assert main(["corpus", "tokenize", *words, "--max-bad", "1"]) == 0
    said = capsys.readouterr().out
    assert "2 documents (0 empty), 2 tokens" in said and "1 row put aside" in said
    assert "  a.jsonl, line 3: broken JSON" in said
    assert main(["corpus", "tokenize", *words, "--max-bad", "1"]) == 0, "it is finished already"
    refused([*words, "--shard-tokens", "1"], capsys, "shard_tokens: 100000000 -> 1")


def test_several_sources_and_ids_that_come_as_ids(tmp_path: Path, capsys: Printed) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jsonl").write_text('{"ids": [1, 2]}\n{"ids": []}\n')
    sources = [str(tmp_path / f"{name}.jsonl") for name in "ab"]
    words = [*sources, str(tmp_path / "out"), "--ids-column", "ids"]
    refused(words, capsys, "vocab_size: 0", "--vocab-size")
    assert main(["corpus", "tokenize", *words, "--vocab-size", "70000", "--jobs", "1"]) == 0
    corpus = open_shards(tmp_path / "out")
    assert (corpus.documents, corpus.tokens, corpus.tokenizer) == (4, 4, "")
    assert corpus.shards[0].tokens_T.dtype == "uint32"
    assert "4 documents (2 empty)" in capsys.readouterr().out


def test_what_cannot_be_tokenised(tmp_path: Path, tokenizer: str, capsys: Printed) -> None:
    source, out = texts(tmp_path / "a.jsonl", 2, 3), str(tmp_path / "out")
    refused([source], capsys, "tokenize takes SRC... and OUT", f"given: {source}")
    refused([source, out], capsys, "Which tokenizer?")
    refused([source, out, "--tokenizer", source], capsys, "is no tokenizer")
    refused(
        [source, out, "--tokenizer", tokenizer, "--vocab-size", "9"], capsys, "vocab_size: 9", "51"
    )
    refused(
        [source, out, "--tokenizer", tokenizer, "--column", "body"],
        capsys,
        "no column body (it has: text)",
    )
    refused([str(tmp_path / "no.jsonl"), out, "--tokenizer", tokenizer], capsys, "does not exist")
    (tmp_path / "empty").mkdir()
    refused([str(tmp_path / "empty"), out, "--tokenizer", tokenizer], capsys, "holds no data")
    assert not Path(out).exists()


def test_the_help_names_the_places(capsys: Printed) -> None:
    assert main(["corpus", "tokenize", "--help"]) == 0
    said = capsys.readouterr().out
    assert "corpus tokenize SRC... OUT [settings]" in said and "--max-bad" in said
    facts = {
        "doing": "{} documents",
        "done": 1200,
        "share": 0.345,
        "tokens_per_s": 5e5,
        "eta_s": 61,
    }
    assert facts_in_words(facts) == "1,200 documents, 34 %, 500,000 tokens/s, 1:01 left"


def started(words: list[str]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "stillage", "corpus", "tokenize", *words]
    return subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


def shards_done(out: Path) -> int:
    return len(list(out.glob("unfinished/shard-*[0-9].json")))


def test_stopped_and_killed_it_goes_on_to_the_same_files(tmp_path: Path, tokenizer: str) -> None:
    source, out = texts(tmp_path / "a.jsonl", 6000, 100), tmp_path / "out"
    settings = ["--tokenizer", tokenizer, "--shard-tokens", "20000", "--jobs", "2"]
    assert main(["corpus", "tokenize", source, str(tmp_path / "whole"), *settings]) == 0
    for number, code in ((signal.SIGKILL, -9), (signal.SIGTERM, 75), (signal.SIGINT, 130)):
        before = shards_done(out)
        process = started([source, str(out), *settings])
        while shards_done(out) < before + 2 and process.poll() is None:
            time.sleep(0.005)
        process.send_signal(number)
        said = process.communicate()[1]
        assert process.returncode == code, said
        assert "the same command continues" in said or code == -9
    assert before < shards_done(out) < 30
    assert main(["corpus", "tokenize", source, str(out), *settings]) == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.slow
def test_20_kills_at_random_times_change_no_byte(tmp_path: Path, tokenizer: str) -> None:
    source, out = texts(tmp_path / "a.jsonl", 20_000, 100), tmp_path / "out"
    settings = ["--tokenizer", tokenizer, "--shard-tokens", "50000", "--jobs", "2"]
    begun = time.monotonic()
    assert started([source, str(tmp_path / "whole"), *settings]).wait() == 0
    took_s, rng, kills = time.monotonic() - begun, random.Random(7), 0
    while kills < 20:
        process = started([source, str(out), *settings])
        time.sleep(rng.uniform(0.1, took_s))
        process.kill()
        kills += process.wait() == -signal.SIGKILL
        if (out / "manifest.json").is_file():  # finished, but for tidying up
            assert started([source, str(out), *settings]).wait() == 0
            assert content(out) == content(tmp_path / "whole")
            out = tmp_path / f"out{kills}"
    assert started([source, str(out), *settings]).wait() == 0
    assert content(out) == content(tmp_path / "whole")


@pytest.mark.parametrize(
    "place", ["gpt2/tokenizer.json", "tokenizer.json", "models/gpt2", "./gpt2"]
)
def test_a_tokenizer_that_is_not_there_is_no_page_of_the_hub(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    source = texts(tmp_path / "a.jsonl", 2, 5)
    out = str(tmp_path / "out")
    assert main(["corpus", "tokenize", source, out, "--tokenizer", place]) == 2
    said = capsys.readouterr().err
    assert f"looked for: {place}" in said and "not there" in said and "huggingface.co" not in said


def test_a_hub_id_is_still_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = texts(tmp_path / "a.jsonl", 2, 5)
    given = ["--tokenizer", "some/model-v1.5", "--revision", "main"]
    assert main(["corpus", "tokenize", source, str(tmp_path / "out"), *given]) == 2
    assert "huggingface.co/some/model-v1.5" in capsys.readouterr().err
