"""`corpus scan` as a user calls it: what it says before and after, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import brute_search
import pytest
from make_shards import make_shards

from stillage.cli import main
from stillage.corpus.scan_results import read_scan
from stillage.corpus.tokenizers import backend_hash

AMONG = "exact copies and the targets' own places among them"
DOCUMENTS = [[1, 2, 3, 4, 5, 1, 2], [], [3, 1, 2, 0, 4, 5], [4, 4], [2, 3, 4, 5, 1, 2]]


@pytest.fixture(autouse=True)
def by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compiled here."""
    brute_search.stand_in(monkeypatch)


@pytest.fixture
def shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_shards(tmp_path / "shards", DOCUMENTS, vocab_size=6, shard_documents=3)
    (tmp_path / "t.jsonl").write_text("[1, 2, 3, 4, 5]\n[5, 5, 5, 5, 5]\n")
    return tmp_path


def call(words: str) -> int:
    return main(["corpus", "scan", *words.split()])


def test_it_says_what_it_will_do_and_what_it_did(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("shards --targets t.jsonl --max-distance 1 --out found --metric both --jobs 1") == 0
    said = capsys.readouterr()
    assert said.err.splitlines() == [
        "corpus: 5 documents, 21 tokens, 2 shards (shards)",
        "targets: 2 of 5 tokens (t.jsonl)",
        "looking for: levenshtein and hamming distance up to 1, window mode",
        "how: brute force",
        "parts: 2 of up to 2,097,152 tokens, 1 process",
    ]
    assert said.out.splitlines() == [
        f"levenshtein: 2 pieces, {AMONG}, of 1 of 2 targets",
        f"hamming: 2 pieces, {AMONG}, of 1 of 2 targets",
        "scanned: 5 of 5 documents, 21 of 21 tokens",
        "written: found (stillage corpus report found)",
    ]
    hits = read_scan(Path("found")).hits.to_pylist()
    places = [(row["document"], row["start"], row["distance"]) for row in hits]
    assert places == [(0, 0, 0), (2, 1, 1)] * 2


def test_pieces_that_overlap_are_found_and_not_reported(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("shards --targets t.jsonl --max-distance 3 --out found --keep-overlaps") == 0
    said = capsys.readouterr().out
    assert "pieces, overlapping ones, exact copies and the targets' own places among" in said
    assert "written: found (report and policy need a scan without --keep-overlaps)" in said
    assert main(["corpus", "report", "found"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 3 and "Scan without --keep-overlaps" in lines[2]
    assert not (shards / "found" / "report").exists()


def test_a_dry_run_checks_and_writes_nothing(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "shards --targets t.jsonl --max-distance 1"
    assert call(f"{words} --dry-run") == 0
    assert "targets: 2 of 5 tokens" in capsys.readouterr().err
    assert sorted(path.name for path in shards.iterdir()) == ["shards", "t.jsonl"]
    assert call(f"{words} --out found") == 0
    assert call("shards --targets t.jsonl --max-distance 2 --out found --dry-run") == 2
    assert "max_distance: 1, now 2" in capsys.readouterr().err


def test_a_sample_says_what_it_read(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("shards --targets t.jsonl --max-distance 1 --out found --sample 0.5 --seed 3") == 0
    said = capsys.readouterr()
    scanned = read_scan(Path("found")).manifest["scanned"]["documents"]
    assert 0 < scanned < 5
    assert (
        f"{scanned} documents" in said.err
        and "a random sample of 5 documents, 21 tokens" in said.err
    )
    assert (
        f"scanned: {scanned} of 5 documents" in said.out
        and f"a sample: {20 * scanned:.2f} % of" in said.out
    )


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("shards", "not given: --targets, --out, --max-distance"),
        ("shards --targets t.jsonl --max-distance 1", "not given: --out"),
        ("shards --targets none.jsonl --max-distance 1 --out x", "none.jsonl"),
        ("nowhere --targets t.jsonl --max-distance 1 --out x", "nowhere"),
        ("shards --targets t.jsonl --max-distance -2 --out x", "below 0"),
        ("shards --targets t.jsonl --max-distance 1 --out x --metric cosine", "cosine"),
        ("shards --targets t.jsonl --max-distance 1 --out x --jobs -1", "--jobs -1"),
        ("shards --targets t.jsonl --max-distance 1 --out t.jsonl", "cannot be written"),
        ("shards --targets long.jsonl --max-distance 1 --out x", "longest document: 7 tokens"),
        (
            "shards --targets outside.jsonl --max-distance 1 --out x",
            "target 0 holds 6; vocabulary: 6",
        ),
        ("shards --targets mixed.jsonl --max-distance 1 --out x", "several lengths"),
        ("shards --targets t.jsonl --max-distance 1 --out x --ray 127.0.0.1:1", "No ray cluster"),
    ],
)
def test_errors_are_three_lines(
    shards: Path, capsys: pytest.CaptureFixture[str], words: str, says: str
) -> None:
    for name, targets in {"long": [[1] * 8], "outside": [[1, 6]], "mixed": [[1, 2], [1]]}.items():
        (shards / f"{name}.jsonl").write_text("\n".join(map(json.dumps, targets)))
    assert call(words) == 2
    said = capsys.readouterr().err.strip().splitlines()
    error = said[next(at for at, line in enumerate(said) if line.startswith("stillage: ")) :]
    assert says in "\n".join(error) and len(error) <= 3
    assert not list(shards.glob("x/parts/*"))


def test_a_text_of_the_user_is_a_target(shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = {"none": 0, "a": 1, "b": 2, "c": 3, "d": 4, "e": 5}
    for name in ("own", "another"):
        tokenizer = Tokenizer(models.WordLevel(words if name == "own" else {"none": 0}, "none"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.save(f"{name}.json")
        if name == "own":
            digest = backend_hash(tokenizer)
            make_shards(shards / "texts", DOCUMENTS, 6, shard_documents=3, tokenizer=digest)
    (shards / "own.jsonl").write_text('{"text": "a b c d e"}\n[5, 5, 5, 5, 5]\n')
    asked = "texts --targets own.jsonl --max-distance 1 --out found"
    assert call(asked) == 2
    said = capsys.readouterr().err
    assert "own.jsonl: target 0: 'a b c d e'" in said and "Give --tokenizer" in said
    assert '[1, 2, 3] or {"tokens": [1, 2, 3]} on each line' in said
    assert call(f"{asked} --tokenizer another.json") == 2
    assert "made with another tokenizer" in capsys.readouterr().err
    assert call(f"{asked} --tokenizer own.json") == 0
    assert "levenshtein: 2 pieces, " in capsys.readouterr().out
    assert read_scan(Path("found")).tokens_Nm.tolist() == [[1, 2, 3, 4, 5], [5] * 5]
    (shards / "own.jsonl").write_text('{"text": "a b"}\n{"text": "a b c"}\n')
    assert call(f"{asked} --tokenizer own.json") == 2
    said = capsys.readouterr().err
    assert "several lengths" in said and "target 0 has 2 tokens, target 1 has 3" in said


def test_a_finished_scan_again_says_that_nothing_was_left(
    shards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "shards --targets t.jsonl --max-distance 1 --out found --jobs 1"
    assert call(words) == 0
    assert "nothing was left" not in capsys.readouterr().err
    assert call(words) == 0
    said = capsys.readouterr()
    assert "all 2 parts are there already: nothing was left to scan" in said.err
    assert "scanned: 5 of 5 documents" in said.out


def test_its_help_explains_the_formats_of_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help all") == 0
    said = " ".join(capsys.readouterr().out.split())
    assert '[1, 2, 3] or {"tokens": [1, 2, 3]}' in said and '{"text": "a text"}' in said


def test_its_help_is_one_screen(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--help") == 0
    said = capsys.readouterr().out
    assert len(said.splitlines()) <= 40
    assert all(
        f"--{name}" in said
        for name in (
            "targets",
            "max-distance",
            "metric",
            "mode",
            "out",
            "ray",
            "jobs",
            "sample",
            "keep-overlaps",
            "dry-run",
        )
    )
