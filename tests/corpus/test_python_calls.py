"""`st.corpus`: the tables of the engine, from texts, ids and folders."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path

import brute_search
import numpy as np
import pytest
from make_shards import make_shards

import stillage as st
from stillage.corpus.scan_part_file import hits_schema
from stillage.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing but repeats is compiled here; `examples/near_copies.py` and its test do without."""
    brute_search.stand_in(monkeypatch)


TEXTS = ["a b c d e f g", "", "x a b C d e", "a b c d"]


def rows(*given: object, **settings: object) -> list[tuple[object, ...]]:
    table = st.corpus.find_near(*given, **settings)  # pyright: ignore[reportArgumentType]
    assert table.schema == hits_schema()
    return [tuple(row.values()) for row in table.to_pylist()]


def test_texts_are_compared_word_by_word() -> None:
    found = rows(TEXTS, ["a b c d e"], max_distance=1)
    assert found == [(0, 0, 0, 5, 0, "levenshtein"), (0, 2, 1, 6, 1, "levenshtein")]
    assert rows(TEXTS, ["q r"], max_distance=0) == []


def test_texts_are_compared_by_a_tokenizer() -> None:
    def encode(text: str) -> list[int]:
        return [ord(letter) for letter in text if letter != " "]

    assert rows(TEXTS, ["abc d"], max_distance=0, encode=encode) == rows(
        [encode(text) for text in TEXTS], [encode("abcd")], max_distance=0
    )
    assert len(rows(TEXTS, ["abcd"], max_distance=0, encode=encode)) == 2


@pytest.mark.parametrize(
    "kind",
    [list, tuple, lambda ids: np.array(ids, dtype=np.uint16), lambda ids: np.repeat(ids, 2)[::2]],
)
def test_ids_of_any_kind(kind: type) -> None:
    documents = [kind([1, 2, 3, 4]), kind([]), kind([2, 3])]
    assert [row[:5] for row in rows(documents, [kind([2, 3])], max_distance=0)] == [
        (0, 0, 1, 3, 0),
        (0, 2, 0, 2, 0),
    ]


def test_a_folder_of_shards_gives_what_its_documents_give(tmp_path: Path) -> None:
    documents = [[1, 2, 3, 4, 1, 2], [], [2, 3, 3], [4], [3, 3, 1, 2, 3]]
    targets = [[1, 2, 3], [3, 3, 1]]
    for shard_documents in (1, 2, 9):
        folder = tmp_path / str(shard_documents)
        make_shards(folder, documents, vocab_size=6, shard_documents=shard_documents)
        for settings in (
            {},
            {"metric": "both"},
            {"suppress_overlaps": False},
        ):
            expected = rows(documents, targets, max_distance=1, **settings)
            assert (
                rows(folder, targets, max_distance=1, **settings)
                == rows(str(folder), targets, max_distance=1, **settings)
                == expected
                != []
            )
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, targets)))
    assert rows(tmp_path / "9", tmp_path / "t.jsonl", max_distance=1) == rows(
        documents, targets, max_distance=1
    )


def test_what_cannot_be_compared_is_refused(tmp_path: Path) -> None:
    make_shards(tmp_path, [[1, 2]], vocab_size=6, shard_documents=1)
    for documents, targets in (
        (TEXTS, [[1, 2]]),
        ([[1, 2]], ["a b"]),
        (tmp_path, ["a b"]),
        (["a", [1]], ["a"]),
    ):
        with pytest.raises(ConfigError, match="encode="):
            rows(documents, targets, max_distance=0)
    (tmp_path / "ids.jsonl").write_text("[0, 1]")
    with pytest.raises(ConfigError, match="encode="):  # a file of targets holds ids
        rows(TEXTS, tmp_path / "ids.jsonl", max_distance=0)
    assert rows(["ab"], tmp_path / "ids.jsonl", max_distance=0, encode=lambda text: [0, 1])
    for documents, targets, says in (
        ([[1.5]], [[1]], "neither a text"),
        ([[[1]]], [[1]], "neither a text"),
        (tmp_path, [[9, 1]], "outside the vocabulary"),
    ):
        with pytest.raises(DataError, match=says):
            rows(documents, targets, max_distance=0)


def test_repeats_of_texts_and_of_ids() -> None:
    found = st.corpus.find_repeats(TEXTS, min_length=2).to_pylist()
    assert {(row["document"], row["start"], row["length"], row["count"]) for row in found} >= {
        (0, 0, 4, 2)
    }
    ids = [[1, 2, 3, 9], [1, 2, 3]]
    (row,) = st.corpus.find_repeats(ids, min_length=3, with_tokens=True).to_pylist()
    assert (row["length"], row["count"], row["tokens"]) == (3, 2, [1, 2, 3])


def test_the_reference_names_every_argument() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "python.md").read_text(
        encoding="utf-8"
    )
    (section,) = re.findall(r"^## st\.corpus\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    told = re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)))
    functions = [getattr(st.corpus, name) for name in st.corpus.__all__]
    assert set(told) == {
        name for function in functions for name in inspect.signature(function).parameters
    }


def test_nothing_to_compare_is_said_by_the_search_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    for documents, targets, says in (
        ([], ["a"], "(?s)no documents.*Give texts"),
        (TEXTS, [], "no targets"),
        (TEXTS, ["a b", "a"], "several lengths"),
        (TEXTS, [""], "empty"),
    ):
        with pytest.raises(DataError, match=says):
            rows(documents, targets, max_distance=0)
