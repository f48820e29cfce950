"""`stillage corpus policy`: what it says is left is what a scan of the kept corpus finds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from make_shards import make_shards

from stillage.cli import main
from stillage.corpus.scan_results import read_scan
from stillage.run.folder import read_json, read_table

Printed = pytest.CaptureFixture[str]
RULES = ("exact", "ngram:8", "jaccard:0.5:3")


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus with near-duplicates of two targets of 20 tokens, indexed and scanned."""
    folder, draw = tmp_path_factory.mktemp("policy"), np.random.default_rng(0)
    targets = draw.integers(0, 50, (2, 20))
    documents = []
    for at in range(40):
        passage = targets[at % 2].copy()
        places = draw.choice(20, at % 8, replace=False)
        passage[places] = draw.integers(0, 50, len(places))
        before, after = draw.integers(0, 50, 12), draw.integers(0, 50, 9)
        documents.append(np.concatenate([before, passage, after]))
    documents += [documents[3], documents[3][2:], targets[0], np.zeros(0, dtype=np.int64)]
    make_shards(folder / "in", documents, vocab_size=50, shard_documents=17)
    (folder / "targets.json").write_text(json.dumps(targets.tolist()))
    assert main(["corpus", "index", str(folder / "in")]) == 0
    assert main(scan(folder, "in", "scan")) == 0
    return folder


def scan(folder: Path, shards: str, out: str) -> list[str]:
    places = [
        str(folder / shards),
        "--targets",
        str(folder / "targets.json"),
        "--out",
        str(folder / out),
    ]
    return ["corpus", "scan", *places, "--max-distance", "8", "--metric", "both", "--jobs", "1"]


def counted(hits: pa.Table) -> Counter[tuple[str, int, int]]:
    """How many hits there are by metric, target and distance."""
    columns = (hits[name].to_pylist() for name in ("metric", "target", "distance"))
    return Counter(zip(*columns, strict=True))


def test_what_is_left_is_what_a_scan_of_the_kept_corpus_finds(
    scanned: Path, capsys: Printed
) -> None:
    assert main(["corpus", "policy", str(scanned / "scan"), "--rule", *RULES]) == 0
    said, out = capsys.readouterr().out, scanned / "scan" / "policy"
    assert max(map(len, said.splitlines()[:-1])) <= 120
    assert "exact copies and the targets' own places among them" in said.splitlines()[1]
    heads = [line.split() for line in said.splitlines() if line.startswith("rule ")]
    assert all(head[:4] == ["rule", "reading", "0", "%"] for head in heads) and len(heads) == 2
    assert "the rule exact: documents equal to another, whole" in " ".join(said.split())
    table, survivors = read_table(out / "policy.parquet"), read_table(out / "survivors.parquet")
    before = counted(read_scan(scanned / "scan").hits)
    left = {
        (rule, reading): counted(
            survivors.filter((pc.field("rule") == rule) & (pc.field("reading") == reading))
        )
        for rule in ("none", *RULES)
        for reading in ("", "against the target", "in the corpus")
    }
    assert left["none", ""] == before and before.total() > 60
    for at, rule in enumerate(RULES):
        kept, again = f"kept{at}", f"again{at}"
        assert (
            main(
                [
                    "corpus",
                    "dedup",
                    str(scanned / "in"),
                    "--rule",
                    rule,
                    "--out",
                    str(scanned / kept),
                ]
            )
            == 0
        )
        assert main(scan(scanned, kept, again)) == 0
        assert left[rule, "in the corpus"] == counted(read_scan(scanned / again).hits)
        assert 0 < left[rule, "in the corpus"].total() < before.total()
    rows = table.to_pylist()
    assert sum(row["near_duplicates"] for row in rows) == len(survivors)
    for row in read_json(out / "policy.json")["rows"]:
        own = [r for r in rows if all(r[k] == row[k] for k in ("rule", "reading", "metric"))]
        assert row["near_duplicates"] == sum(r["near_duplicates"] for r in own)
        assert row["worth"] == pytest.approx(sum(r["worth"] for r in own))
        assert (
            row["worth_low"] <= row["worth"] <= row["worth_high"] <= row["near_duplicates"] + 1e-9
        )
        assert f"{row['worth']:,.1f} (" in said


def test_again_with_another_curve_nothing_is_searched_twice(
    scanned: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["corpus", "policy", str(scanned / "scan"), "--rule", "exact"]
    assert main(command) == 0
    first = (scanned / "scan" / "policy" / "policy.parquet").read_bytes()
    monkeypatch.setattr("stillage.corpus.policy_run.rule_spans", None)
    assert main(command) == 0
    assert (scanned / "scan" / "policy" / "policy.parquet").read_bytes() == first
    (scanned / "rho.json").write_text('{"distance": [0, 0.2], "rho": [1, 0.5]}')
    capsys.readouterr()
    assert main([*command, "--rho", str(scanned / "rho.json")]) == 0
    said = capsys.readouterr().out
    assert "models" not in said and "rests on distances where rho was not measured" in said


def test_a_scan_with_overlaps_is_refused(scanned: Path, capsys: Printed) -> None:
    assert main([*scan(scanned, "in", "overlaps"), "--keep-overlaps"]) == 0
    capsys.readouterr()
    assert main(["corpus", "policy", str(scanned / "overlaps"), "--rule", "exact"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "Scan without --keep-overlaps" in lines[2]
    assert not (scanned / "overlaps" / "policy").exists()


def test_what_a_user_can_mend_is_said(scanned: Path, capsys: Printed, tmp_path: Path) -> None:
    make_shards(tmp_path / "other", [[1, 2]], vocab_size=50, shard_documents=9)
    (tmp_path / "rho.json").write_text('{"distance": [0, 0], "rho": [1, 1]}')
    folder = str(scanned / "scan")
    for words, says in (
        ([folder], "--rule was not given"),
        ([folder, "--rule", "ngram"], "Write ngram:N"),
        ([folder, "--rule", "exact", "--rho", str(tmp_path / "rho.json")], "do not ascend"),
        ([folder, "--rule", "exact", "--shards", str(tmp_path / "other")], "not those of the scan"),
        ([str(tmp_path), "--rule", "exact"], "holds no scan"),
    ):
        assert main(["corpus", "policy", *words]) == 2
        said = capsys.readouterr().err
        assert says in said and len(said.splitlines()) == 3
