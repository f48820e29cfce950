"""The index beside a shard: it is what sorting says, it is its shard's alone, and it is made once."""

from __future__ import annotations

import errno
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from make_shards import make_shards

from stillage.corpus import shard_index
from stillage.corpus.shard_index import index_path, index_shards, is_indexed, open_index
from stillage.corpus.shards import MANIFEST, open_shards
from stillage.corpus.suffix_array import suffix_array
from stillage.errors import DataError
from stillage.run.folder import hash_files, list_files, read_json, write_json

DOCUMENTS = [[1, 2, 3, 1, 2], [], [1, 2], [3] * 7]


def test_an_index_is_what_sorting_says(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=2)
    assert index_shards(corpus, jobs=2) == list(corpus.shards)
    for shard in corpus.shards:
        index = open_index(shard)
        suffixes_T, lcp_T = suffix_array(shard.tokens_T, shard.offsets_D)
        assert index.suffixes_T.tolist() == suffixes_T.tolist()
        assert index.lcp_T.tolist() == lcp_T.tolist()
        assert isinstance(index.suffixes_T, np.memmap)


def test_only_what_is_missing_is_made(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=1)
    index_shards(corpus)
    path = index_path(corpus.shards[2])
    path.write_bytes(path.read_bytes()[:-1])  # cut short
    index_path(corpus.shards[3]).unlink()
    assert index_shards(corpus) == list(corpus.shards[2:])
    assert all(map(is_indexed, corpus.shards)) and index_shards(corpus) == []
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_an_index_of_another_shard_is_refused_and_made_anew(tmp_path: Path) -> None:
    index_shards(make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=4))
    other = make_shards(tmp_path, [ids[::-1] for ids in DOCUMENTS], vocab_size=9, shard_documents=4)
    with pytest.raises(DataError, match="do not belong together") as told:
        open_index(other.shards[0])
    assert "stillage corpus index" in str(told.value)
    index_shards(other)
    assert is_indexed(other.shards[0])


def test_a_shard_that_is_not_its_manifests_is_not_indexed(tmp_path: Path) -> None:
    make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=2)
    manifest = read_json(tmp_path / MANIFEST)
    manifest["shards"][1]["sha256"] = "0" * 64
    write_json(tmp_path / MANIFEST, manifest)
    corpus = open_shards(tmp_path)
    with pytest.raises(DataError, match="not the one that was written"):
        index_shards(corpus)
    assert [is_indexed(shard) for shard in corpus.shards] == [True, False]


def test_what_a_killed_process_left_is_cleared_away(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=2)
    (tmp_path / ".tmp-shard-00000.index.safetensors-1-ab").write_bytes(b"half")
    index_shards(corpus)
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_shards(tmp_path, DOCUMENTS, vocab_size=9, shard_documents=2)

    def refuse(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(tmp_path))

    monkeypatch.setattr(shard_index, "write_shard_index", refuse)
    with pytest.raises(DataError, match="Read-only file system"):
        index_shards(corpus)


@pytest.mark.slow
def test_twenty_kills_leave_the_same_files(tmp_path: Path) -> None:
    """Killed at random moments, also while a file is written; then run to its end."""
    chance = np.random.default_rng(0)
    documents = chance.integers(0, 900, (400, 1000))
    for name in ("killed", "whole"):
        make_shards(tmp_path / name, documents, vocab_size=900, shard_documents=20)
    words = [sys.executable, "-m", "stillage", "corpus", "index"]
    for _ in range(20):
        running = subprocess.Popen([*words, str(tmp_path / "killed")], stdout=subprocess.DEVNULL)
        with suppress(subprocess.TimeoutExpired):
            running.wait(timeout=float(chance.uniform(0.5, 4)))
        running.kill()
        running.wait()
        for path in (tmp_path / "killed").glob("shard-*.index.safetensors"):
            if chance.random() < 0.5:  # so that there is work to kill every time
                path.unlink()
    for name in ("killed", "whole"):
        subprocess.run([*words, str(tmp_path / name)], check=True, stdout=subprocess.DEVNULL)
    hashes = [
        hash_files(tmp_path / name, list_files(tmp_path / name)) for name in ("killed", "whole")
    ]
    assert hashes[0] == hashes[1] and len(hashes[0]) == 61


def test_what_is_not_indexed_says_how_to(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path, [], vocab_size=9, shard_documents=2)
    with pytest.raises(DataError, match="not indexed"):
        open_index(corpus.shards[0])
    index_shards(corpus)
    assert open_index(corpus.shards[0]).suffixes_T.shape == (0,)
