"""Shards: what was written is what is read, and what does not belong together is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_shards import make_shards

from stillage.corpus.shards import MANIFEST, document_table, open_shards
from stillage.errors import DataError
from stillage.run.folder import read_json, write_json


def test_documents_are_numbered_through_all_shards(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [[1, 2, 3], [], [8], [0, 0]], vocab_size=9, shard_documents=3)
    assert (corpus.documents, corpus.tokens) == (4, 6)
    assert [shard.first_document for shard in corpus.shards] == [0, 3]
    assert corpus.shards[0].offsets_D.tolist() == [0, 3, 3, 4]
    assert corpus.shards[0].tokens_T.dtype == "uint16"
    assert document_table(corpus, corpus.shards[1]).to_pylist() == [
        {"id": "d3", "source": "made", "line": 4}
    ]


def test_ids_of_a_large_vocabulary_do_not_wrap(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [[70_000, 2**32 - 1]], vocab_size=2**32, shard_documents=1)
    assert corpus.shards[0].tokens_T.tolist() == [70_000, 2**32 - 1]
    with pytest.raises(DataError, match="70000; vocabulary: 65536"):
        make_shards(tmp_path / "b", [[70_000]], vocab_size=65_536, shard_documents=1)


def test_no_documents_are_one_empty_shard(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [], vocab_size=9, shard_documents=3)
    assert (corpus.documents, corpus.tokens, len(corpus.shards)) == (0, 0, 1)


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no finished token shards"):
        open_shards(tmp_path)
    make_shards(tmp_path, [[1, 2, 3], [4]], vocab_size=9, shard_documents=1)
    manifest = read_json(tmp_path / MANIFEST)
    manifest["shards"][1]["tokens"] = 2
    write_json(tmp_path / MANIFEST, manifest)
    with pytest.raises(DataError, match="do not belong together"):
        open_shards(tmp_path)
    path = tmp_path / "shard-00000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match="damaged"):
        open_shards(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shards": None}, "no list of shards"),
        ({"shards": []}, "no list of shards"),
        ({"shards": ["x"]}, "shard 0: name is None"),
        ({"shards": [{"name": "a", "documents": 1, "tokens": "1"}]}, "shard 0: tokens is '1'"),
        ({"shards": [{"name": "a", "documents": 1, "tokens": 1}]}, "shard 0: sha256 is None"),
        ({"vocab_size": -5}, "vocab_size is -5"),
        ({"tokenizer": None}, "tokenizer is None"),
    ],
)
def test_a_manifest_without_its_facts_is_damaged(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    make_shards(tmp_path, [[1]], vocab_size=9, shard_documents=1)
    write_json(tmp_path / MANIFEST, read_json(tmp_path / MANIFEST) | change)
    with pytest.raises(DataError, match="manifest of the shards is damaged") as caught:
        open_shards(tmp_path)
    assert said in caught.value.values


@pytest.mark.parametrize("what", ["absent", "cut", "another"])
def test_the_table_of_documents_must_be_whole(tmp_path: Path, what: str) -> None:
    corpus = make_shards(tmp_path, [[1], [2], [3]], vocab_size=9, shard_documents=2)
    table = tmp_path / "shard-00000.documents.parquet"
    if what == "absent":
        table.unlink()
    elif what == "cut":
        table.write_bytes(b"xx")
    else:
        table.write_bytes((tmp_path / "shard-00001.documents.parquet").read_bytes())
    with pytest.raises(DataError, match="documents"):
        document_table(corpus, corpus.shards[0])
