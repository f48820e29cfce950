"""`corpus targets` as a user calls it: what was drawn, of how many, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from make_shards import make_shards

from stillage.cli import main
from stillage.corpus.shard_index import index_shards
from stillage.corpus.targets import read_targets

SMALL = ["--length", "2", "--unique", "1", "--counts", "3", "5", "--per-count", "2"]


@pytest.fixture
def shards(tmp_path: Path) -> str:
    """[1, 2] and [2, 3] occur three times, each once in a shard; nothing five times."""
    documents = [[1, 2, 3, 9], [7, 1, 2, 3], [1, 2, 3, 8], [4]]
    index_shards(make_shards(tmp_path / "shards", documents, 10, shard_documents=1))
    return str(tmp_path / "shards")


def test_what_is_drawn_is_said(
    shards: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "new" / "t.parquet")
    assert main(["corpus", "targets", shards, "--out", out, *SMALL, "--random", "20"]) == 0
    told = capsys.readouterr().out
    assert "count 3 (3): 2 of 2 sequences\n" in told
    assert "count 5 (5): 0 of 0 sequences (only; 2 were asked for)" in told
    assert "random: 9 of 9 windows (only; 20 were asked for)" in told
    tokens, table = read_targets(Path(out), vocab_size=10)
    assert sorted(tokens[:2].tolist()) == [[1, 2], [2, 3]]
    assert table["count"].to_pylist()[:2] == [3, 3] and len(tokens) == 11


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["--out", "t.json"], "--out t.json"),
        ([], "--out was not given"),
        (["--out", "t.parquet", "--counts", "5", "5"], "overlap"),
        (["--out", "t.parquet", "--length", "5", "--unique", "1"], "the longest of 4 documents: 4"),
        (["--out", "t.parquet", *SMALL[:5], "9", "--random", "0"], "nothing was written"),
    ],
)
def test_what_cannot_be_drawn_is_three_lines(
    shards: str, given: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["corpus", "targets", shards, *given]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert told in " ".join(lines) and len(lines) == 3
    assert not Path("t.parquet").exists()
