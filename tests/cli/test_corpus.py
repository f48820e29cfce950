"""`stillage corpus` as a whole: a place that the system refuses ends in three lines."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from make_shards import make_shards

from stillage.cli import actions, main
from stillage.corpus.shard_index import index_shards
from stillage.corpus.token_file import HEADER

WORK = {
    "dedup": ["--rule", "exact", "--out", "OUT"],
    "repeats": ["--length", "2", "--out", "OUT.parquet"],
    "targets": ["--length", "2", "--unique", "1", "--counts", "2", "--out", "OUT.parquet"],
}


@pytest.mark.parametrize("action", WORK)
def test_a_file_on_the_way_is_three_lines(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    index_shards(make_shards(tmp_path / "shards", [[1, 2, 3], [1, 2]], 9, shard_documents=1))
    (tmp_path / "file").write_text("x")
    words = [word.replace("OUT", str(tmp_path / "file" / "out")) for word in WORK[action]]
    assert main(["corpus", action, str(tmp_path / "shards"), *words]) == 2
    told = capsys.readouterr().err.strip()
    assert len(told.splitlines()) == 3 and "file" in told and "bug" not in told


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOENT])
def test_what_the_system_refuses_is_three_lines(
    number: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number), "there")

    monkeypatch.setattr(actions, "read_paths", refused)
    assert main(["corpus", "index", str(tmp_path)]) == 2
    assert f"there: {os.strerror(number)}" in capsys.readouterr().err


@pytest.mark.parametrize("action", [*WORK, "scan"])
def test_a_shard_that_is_not_the_one_that_was_written_is_refused(
    action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = make_shards(tmp_path / "shards", [[1, 2, 3], [1, 2]], 9, shard_documents=2)
    index_shards(corpus)
    path = tmp_path / "shards" / "shard-00000.safetensors"
    content = bytearray(path.read_bytes())
    content[8 + HEADER] ^= 1  # the first token
    path.write_bytes(content)
    (tmp_path / "targets.json").write_text("[[1, 2]]")
    words = WORK.get(action, ["--targets", "TARGETS", "--max-distance", "0", "--out", "OUT"])
    places = {"OUT": str(tmp_path / "out"), "TARGETS": str(tmp_path / "targets.json")}
    for name, place in places.items():
        words = [word.replace(name, place) for word in words]
    assert main(["corpus", action, str(tmp_path / "shards"), *words]) == 2
    assert "not the one that was written" in capsys.readouterr().err
