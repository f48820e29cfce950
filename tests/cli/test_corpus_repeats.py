"""`corpus repeats` as a user calls it: one screen, JSON, a file; what is missing is named."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from make_shards import make_shards

from stillage.cli import main

DOCUMENTS = [[1, 2, 3, 4, 5, 9], [], [8, 1, 2, 3, 4, 5], [1, 2, 3, 7, 7, 7, 7], [6, 1, 2, 3]]
Printed = pytest.CaptureFixture[str]


@pytest.fixture
def shards(tmp_path: Path) -> str:
    make_shards(tmp_path / "shards", DOCUMENTS, vocab_size=70_000, shard_documents=2)
    return str(tmp_path / "shards")


def test_a_screen_and_a_file(shards: str, tmp_path: Path, capsys: Printed) -> None:
    assert main(["corpus", "repeats", shards, "--length", "2"]) == 2
    assert f"Run `stillage corpus index {shards}`" in capsys.readouterr().err
    assert main(["corpus", "index", shards]) == 0
    capsys.readouterr()
    out = str(tmp_path / "all.parquet")
    words = f"corpus repeats {shards} --length 2 --similar --out {out} --with-tokens"
    assert main(words.split()) == 0
    assert (
        capsys.readouterr().out
        == f"""{shards}: 23 tokens in 5 documents
20 tokens (86.96%) in 4 of 5 documents lie in a repeat of at least 2 tokens
4 maximal repeats of at least 2 tokens

tokens  times  documents  the longest: first at, and where else
5       2      2          d0, token 0; d2
3       2      1          d3, token 3

tokens  times  documents  the most frequent: first at, and where else
3       4      4          d0, token 0; d2, d3 and 1 more
2       3      1          d3, token 3

sequences of 2 tokens that are repeated, each shift of one by itself:
times   sequences  positions
2       2          4
3 to 4  3          11
all     5          15

all of them: {out}
"""
    )
    table = pq.read_table(out)
    assert table.schema.metadata == {b"min_length": b"2", b"min_count": b"2"}
    assert table.to_pylist()[0] == {
        "document": 0, "start": 0, "length": 3, "count": 4, "documents": 4, "tokens": [1, 2, 3],
    }  # fmt: skip
    assert table.num_rows == 4


def test_json_and_nothing_found(shards: str, capsys: Printed) -> None:
    main(["corpus", "index", shards])
    capsys.readouterr()
    words = ["corpus", "repeats", shards, "--json", "--min-count", "3", "--length"]
    assert main([*words, "2"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["repeats"], facts["repeated_tokens"], facts["tokens"]) == (2, 20, 23)
    assert facts["most_frequent"][0] == {
        "document": 0, "start": 0, "length": 3, "count": 4, "documents": 4, "tokens": [1, 2, 3],
        "in": ["d0", "d2", "d3"],
    }  # fmt: skip
    assert main([*words, "6"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["repeats"], facts["repeated_share"], facts["longest"]) == (0, 0, [])


def test_texts_are_shown_with_the_tokenizer_of_the_corpus(
    shards: str, tmp_path: Path, capsys: Printed
) -> None:
    from tokenizers import Tokenizer, models

    words = {"<end>": 0} | {f"w{number}": number for number in range(1, 10)}
    inner = Tokenizer(models.WordLevel(words, unk_token="<end>"))
    inner.add_special_tokens(["<end>"])
    inner.save(str(tmp_path / "tokenizer.json"))
    main(["corpus", "index", shards])
    capsys.readouterr()
    given = f"corpus repeats {shards} --length 5 --tokenizer {tmp_path}/tokenizer.json"
    assert main(given.split()) == 0
    assert '    "w1 w2 w3 w4 w5"\n' in capsys.readouterr().out


def test_what_cannot_be_is_said_before_anything_is_read(capsys: Printed) -> None:
    for words, what in {
        "": "--length was not given",
        "--length -1": "min_length: -1",
        "--length 5 --min-count 1": "min_count: 1",
        "--length 5 --out all.csv": ".parquet",
        "--length 5 --with-tokens": "--out",
    }.items():
        assert main(["corpus", "repeats", "nowhere", *words.split()]) == 2
        assert what in capsys.readouterr().err


def test_progress_moves_on_one_shard(tmp_path: Path) -> None:
    """What is compiled first is said, and is no part of the speed."""
    from stillage.cli.corpus_repeats import RepeatsFlags, search
    from stillage.corpus.indexed_parts import indexed_parts
    from stillage.corpus.shard_index import index_shards

    corpus = make_shards(tmp_path, DOCUMENTS, vocab_size=10, shard_documents=9)
    index_shards(corpus)
    told: list[dict[str, object]] = []
    search(
        indexed_parts(corpus), RepeatsFlags(length=2), lambda name, facts: told.append(dict(facts))
    )
    assert told[0] == {"doing": "compiling the comparison"}
    assert all(facts["done"] for facts in told[1:]) and told[-1]["done"] == corpus.tokens


def test_help_says_why_numbers_differ_from_a_deduplication(capsys: Printed) -> None:
    for action, other in (("repeats", "corpus dedup --rule ngram:N"), ("dedup", "corpus repeats")):
        assert main(["corpus", action, "--help", "all"]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert "compare" in said and "whole, so that" in said and other in said
    for action in ("dedup", "policy"):
        assert main(["corpus", action, "--help"]) == 0
        assert "jaccard:T[:N]" in capsys.readouterr().out
