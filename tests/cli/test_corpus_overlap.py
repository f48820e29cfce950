"""`stillage corpus overlap`: what is shown, written and refused."""

from __future__ import annotations

import errno
import json
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from make_shards import make_shards

from stillage.cli import main
from stillage.corpus.compared_sets import TextSet
from stillage.corpus.rows import Row
from stillage.corpus.shards import document_table, open_shards
from stillage.run.folder import read_json, read_table

Printed = pytest.CaptureFixture[str]
QUESTION = "Which of the five rivers of the underworld did Charon cross with the dead?"


def rows(path: Path, values: Sequence[Mapping[str, object]]) -> str:
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values))
    return str(path)


def words(name: str, count: int) -> str:
    return " ".join(f"{name}{number}" for number in range(count))


@pytest.fixture
def sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A training set and an evaluation set with one exact copy, a near one, and a piece."""
    monkeypatch.chdir(tmp_path)
    near = QUESTION.replace("five", "seven").replace("dead", "souls of the dead")
    train = [{"text": words(f"t{n}x", 30)} for n in range(20)]
    train[4]["text"] += f" {QUESTION} {words('y', 10)}"
    train[7]["text"] += f" {words('shared', 15)}"
    evaluated = [
        {"id": "q0", "prompt": QUESTION, "response": "Acheron", "tag": 1},
        {"id": "q1", "prompt": near, "response": "Styx", "tag": 2},
        {"id": "q2", "prompt": words("p", 40), "response": words("shared", 15), "tag": 3},
        {"id": "q3", "prompt": words("own", 20), "response": "ä", "tag": None},
        {"id": "q4", "prompt": "Who?", "response": "No one.", "tag": 5},
    ]
    return rows(tmp_path / "train.jsonl", train), rows(tmp_path / "eval.jsonl", evaluated)


def refused(given: list[str], printed: Printed, *said: str) -> None:
    assert main(["corpus", "overlap", *given]) == 2
    text = printed.readouterr().err
    assert len(text.splitlines()) <= 3 and "Traceback" not in text
    assert not [word for word in said if word not in text], text


def test_counts_and_both_names_are_shown(sets: tuple[str, str], capsys: Printed) -> None:
    assert main(["corpus", "overlap", *sets]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("3 of 5 items of B overlap with A; 20 documents compared\n")
    assert "eval.jsonl:1 (q0)  15     14" in shown and "train.jsonl:5 " in shown
    short = next(line for line in shown.splitlines() if line.startswith("too short to judge"))
    assert short.split() == "too short to judge (under 8 words) 0 0.0 % 1 20.0 %".split()
    assert "shared0" not in shown  # no text unless asked for
    assert main(["corpus", "overlap", *sets, "--show-text"]) == 0
    assert words("shared", 15) in capsys.readouterr().out


def test_nothing_in_common_is_said_in_full(
    sets: tuple[str, str], tmp_path: Path, capsys: Printed
) -> None:
    other = rows(tmp_path / "other.jsonl", [{"text": words("z", 20)}])
    assert main(["corpus", "overlap", sets[0], other, "--out", "out"]) == 0
    assert capsys.readouterr().out.startswith("0 of 1 items of B overlap with A; 20 documents")
    assert read_table(Path("out/a.parquet")).num_rows == 20


def test_json_for_scripts(sets: tuple[str, str], capsys: Printed) -> None:
    assert main(["corpus", "overlap", *sets, "--json", "--show", "2", "--piece", "13"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (
        facts["b"]["documents"] == 5 and facts["b"]["near-duplicate"] == 2 and facts["piece"] == 13
    )
    first, second = facts["listed"]
    assert (first["id"], first["longest"], first["other_line"], first["start"]) == ("q2", 15, 8, 40)
    assert (second["id"], second["verdict"], second["copy_line"]) == ("q0", "near-duplicate", 5)


@pytest.mark.parametrize("side", ["B", "./eval.jsonl"])
def test_what_overlaps_is_dropped_and_listed(
    sets: tuple[str, str], side: str, capsys: Printed
) -> None:
    wanted = ["--drop-from", side, "--out", "clean", "--rule", "near", "piece:13"]
    assert main(["corpus", "overlap", "train.jsonl", "eval.jsonl", *wanted]) == 0
    shown = capsys.readouterr().out
    assert "from B dropped 3 of 5 (2 near-duplicates, 1 by a shared piece); kept 2" in shown
    assert "1 of the kept are too short for the rule's piece" in shown
    kept = [json.loads(line) for line in Path("clean/kept.jsonl").read_text().splitlines()]
    assert kept == [json.loads(line) for line in Path(sets[1]).read_text().splitlines()[3:]]
    gone = read_table(Path("clean/dropped.parquet")).to_pylist()
    assert [(one["id"], one["why"], one["with_source"], one["with_line"]) for one in gone] == [
        ("q0", "near-duplicate", "train.jsonl", 5),
        ("q1", "near-duplicate", "train.jsonl", 5),
        ("q2", "shares 15 words", "train.jsonl", 8),
    ]
    assert read_json(Path("clean/overlap.json"))["dropped"]["kept"] == 2
    assert {one.name for one in Path("clean").iterdir()} == {
        "a.parquet", "b.parquet", "dropped.parquet", "kept.jsonl", "overlap.json",
    }  # fmt: skip
    assert main(["corpus", "overlap", sets[0], "clean/kept.jsonl"]) == 0
    assert capsys.readouterr().out.startswith("0 of 2 items")
    assert main(["corpus", "overlap", *sets, "--out", "clean"]) == 0  # its own folder: replaced
    assert not Path("clean/kept.jsonl").exists()


def test_from_the_training_set_too_and_from_other_formats(
    sets: tuple[str, str], tmp_path: Path, capsys: Printed
) -> None:
    texts = [json.loads(line)["text"] for line in Path(sets[0]).read_text().splitlines()]
    table = pa.table({"body": texts, "at": pa.array([0] * 20, pa.timestamp("s")), "n": range(20)})
    pq.write_table(table, tmp_path / "train.parquet")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "one.txt").write_text(f"Asked: {QUESTION.upper()}\n")
    (tmp_path / "folder" / "two.txt").write_text("")
    words_ = "--column body --column-b text --drop-from A --out clean".split()
    assert main(["corpus", "overlap", "train.parquet", "folder", *words_]) == 0
    assert "1 of 2 items of B" in capsys.readouterr().out
    kept = [json.loads(line) for line in Path("clean/kept.jsonl").read_text().splitlines()]
    assert [row["n"] for row in kept] == [*range(4), *range(5, 20)]
    assert kept[0]["at"] == "1970-01-01T00:00:00"


def test_token_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed) -> None:
    monkeypatch.chdir(tmp_path)
    piece = list(range(100, 120))
    a = [list(range(20)), [], [*range(30, 60), *piece], piece]
    b = [[*piece, 7], [5, 6], [*range(200, 230)], piece]
    make_shards(tmp_path / "a", a, vocab_size=300, shard_documents=2)
    make_shards(tmp_path / "b", b, vocab_size=300, shard_documents=3)
    asked = "corpus overlap a b --drop-from A --rule piece:20 --out clean"
    assert main(asked.split()) == 0
    shown = capsys.readouterr().out
    assert "2 of 4 items of B" in shown and "made:1 (d0)  21" in shown
    assert "dropped 2 of 4 (1 by a shared piece, 1 exact copies); kept 2" in shown
    kept = open_shards(tmp_path / "clean" / "kept")
    assert (kept.documents, kept.tokens, len(kept.shards)) == (2, 20, 2)
    ids = [one for shard in kept.shards for one in document_table(kept, shard)["id"].to_pylist()]
    assert ids == ["d0", "d1"]


def test_refusals(sets: tuple[str, str], tmp_path: Path, capsys: Printed) -> None:
    a, b = sets
    make_shards(tmp_path / "s1", [[1, 2]], vocab_size=9, shard_documents=1, tokenizer="one")
    make_shards(tmp_path / "s2", [[1, 2]], vocab_size=9, shard_documents=1, tokenizer="two")
    rows(tmp_path / "folder" / "x.jsonl", [{"text": "x"}])
    blank = tmp_path / "blank.jsonl"
    blank.write_text("\n\n")
    (tmp_path / "others").mkdir()
    (tmp_path / "others" / "thesis.doc").write_text("years of work")
    refused([a], capsys, "overlap takes A and B")
    refused([a, a], capsys, "A and B are the same", "dedup")
    refused([a, "./train.jsonl"], capsys, "A and B are the same")
    refused([a, str(blank)], capsys, "B, the second of the two sets, holds no document")
    refused([str(blank), b], capsys, "A, the first of the two sets, holds no document")
    refused([a, "s1"], capsys, "Tokens cannot be compared with texts", "s1: tokens")
    refused(["s1", "s2"], capsys, "different tokenizers", "s1: one")
    refused([a, b, "--drop-from", "B"], capsys, "--out was not given")
    refused([a, b, "--drop-from", "C", "--out", "x"], capsys, "no such side", "C")
    refused([a, b, "--rule", "fuzzy"], capsys, "no such rule", "fuzzy")
    refused([a, b, "--rule", "ngram:13"], capsys, "no such rule", "Write piece:13: 13 words")
    refused([a, b, "--rule", "exact"], capsys, "nobody is", "--rule exact", "--drop-from")
    refused([a, b, "--column", "body"], capsys, "--column", "train.jsonl, line 1", "found: text")
    refused([a, b, "--piece", "0"], capsys, "piece: 0")
    refused([a, "folder", "--out", "folder/out"], capsys, "lie in each other")
    refused([a, "folder/x.jsonl", "--out", "folder"], capsys, "lie in each other")
    refused([a, "folder/**/*.jsonl", "--out", "folder/out"], capsys, "lie in each other")
    refused([a, b, "--out", "others"], capsys, "OUT holds other files", "thesis.doc")
    assert (tmp_path / "others" / "thesis.doc").exists() and not (tmp_path / "x").exists()


def test_bad_rows_are_named_or_counted(
    sets: tuple[str, str], tmp_path: Path, capsys: Printed
) -> None:
    with Path(sets[1]).open("a") as handle:
        handle.write('{"prompt": "cut sh\n[1, 2]\n')
    refused([*sets], capsys, "eval.jsonl, line 6", "--max-bad")
    refused([*sets, "--max-bad", "1", "--out", "x"], capsys, "2 rows", "line 7")
    assert not (tmp_path / "x").exists()
    assert main(["corpus", "overlap", *sets, "--max-bad", "2"]) == 0
    assert "5 documents" in (shown := capsys.readouterr().out)
    assert "2 rows without text left out" in shown


def test_a_full_disk_leaves_nothing(
    sets: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Printed
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("stillage.cli.corpus_overlap.write_json", full)
    before = sorted(tmp_path.iterdir())
    words_ = ["--drop-from", "B", "--out", "clean"]
    assert main(["corpus", "overlap", *sets, *words_]) == 75
    assert "The disk is full" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 75)])
def test_a_signal_stops_it_between_two_documents(
    sets: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
) -> None:
    read = TextSet.rows
    seen = []

    def rows_then_signal(self: TextSet) -> Iterator[tuple[Row, str]]:
        for row in read(self):
            seen.append(row)
            if len(seen) == 6:
                os.kill(os.getpid(), number)
            yield row

    monkeypatch.setattr(TextSet, "rows", rows_then_signal)
    before = sorted(tmp_path.iterdir())
    assert main(["corpus", "overlap", *sets, "--out", "clean"]) == code
    assert len(seen) == 6 and sorted(tmp_path.iterdir()) == before
