"""`stillage corpus dedup`: from shards to kept shards and texts, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import plain_removal
import pytest
from make_shards import make_shards
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from stillage.cli import main
from stillage.cli.board import Board
from stillage.cli.stoppable import stoppable
from stillage.corpus import dedup_rules
from stillage.corpus.shards import open_shards
from stillage.run.stop import Stop, Stopped

Printed = pytest.CaptureFixture[str]
WORDS = ["zero", "a", "b", "c", "d", "e", "f", "g", "h", "i"]
DOCUMENTS = [[1, 2, 3, 4], [5, 6, 7], [1, 2, 3, 4], [9, 2, 3, 4, 8]]


@pytest.fixture(autouse=True)
def removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """N-grams by brute force, which needs no index."""
    monkeypatch.setattr(dedup_rules, "removal_spans", plain_removal.removal_spans)
    monkeypatch.setattr(dedup_rules, "open_index", lambda shard: None)


def tokenizer(path: Path, words: list[str]) -> str:
    made = Tokenizer(WordLevel({word: at for at, word in enumerate(words)}, unk_token="zero"))
    made.pre_tokenizer = WhitespaceSplit()  # pyright: ignore[reportAttributeAccessIssue]
    made.save(str(path))
    return str(path)


def test_copies_that_another_rule_cut_are_said_plainly(tmp_path: Path, capsys: Printed) -> None:
    documents = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7, 8], [7, 8, 9]]
    make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=9)
    command = ["corpus", "dedup", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert main([*command, "--rule", "jaccard:0.5:1", "ngram:2"]) == 0
    assert (
        "of 1 removed span another rule cut the copy that was to stay: its text may be gone"
    ) in capsys.readouterr().out


def test_kept_shards_texts_and_counts(tmp_path: Path, capsys: Printed) -> None:
    make_shards(tmp_path / "in", DOCUMENTS, vocab_size=10, shard_documents=2)
    out, words = tmp_path / "out", tokenizer(tmp_path / "tokenizer.json", WORDS)
    command = ["corpus", "dedup", str(tmp_path / "in"), "--out", str(out), "--tokenizer", words]
    command += ["--rule", "exact", "--rule", "ngram:3"]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "before   4 documents, 16 tokens" in said
    assert "removed  7 tokens (43.8 %) from 2 documents; keep first" in said
    assert "kept     4 documents, 9 tokens; rests of a document: split" in said
    assert "was to stay" not in said
    assert "written: " in said and max(map(len, said.splitlines())) <= 100 + len(str(out))
    kept = open_shards(out)
    assert (kept.documents, kept.tokens, kept.vocab_size) == (4, 9, 10)
    lines = (out / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "d0", "text": "a b c d"},
        {"id": "d1", "text": "e f g"},
        {"id": "d3:0-1", "text": "i"},
        {"id": "d3:4-5", "text": "h"},
    ]
    before = {path: path.read_bytes() for path in out.iterdir()}
    assert main(command) == 0
    assert "was there already" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert main([*command, "--keep", "none"]) == 2
    assert "keep: first -> none" in capsys.readouterr().err
    assert (
        main(["corpus", "dedup", str(out), "--rule", "exact", "--out", str(tmp_path / "o2")]) == 0
    )


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--out", "O"], "--rule was not given"),
        (["--rule", "exact"], "--out was not given"),
        (["--rule", "exact", "exact", "--out", "O"], "given twice"),
        (["--rule", "exct", "--out", "O"], "Did you mean exact?"),
        (["--rule", "exact", "--out", "O", "--source", "x"], "--source without --tokenizer"),
        (["--rule", "exact", "--keep", "last", "--out", "O"], "first"),
        (["--rule", "exact", "--out", "O", "--tokenizer", "nowhere"], "nowhere"),
        (["--rule", "exact", "--out", "O", "--tokenizer", "SMALL"], "does not know all ids"),
        (["--rule", "exact", "--out", "O", "--tokenizer", "OTHER"], "with another tokenizer"),
        (["--rule", "exact", "--out", "O", "--tokenizer", "BROKEN"], "no tokenizer"),
    ],
)
def test_what_a_user_can_mend_is_said_and_nothing_is_written(
    tmp_path: Path, capsys: Printed, flags: list[str], says: str
) -> None:
    hashed = "x" * 64 if "OTHER" in flags else ""
    make_shards(tmp_path / "in", DOCUMENTS, vocab_size=10, shard_documents=2, tokenizer=hashed)
    places = {name: str(tmp_path / name) for name in ("O", "SMALL", "OTHER", "BROKEN")}
    tokenizer(tmp_path / "SMALL", WORDS[:5])
    tokenizer(tmp_path / "OTHER", WORDS)
    (tmp_path / "BROKEN").write_text("{}")
    assert main(["corpus", "dedup", str(tmp_path / "in"), *(places.get(w, w) for w in flags)]) == 2
    said = capsys.readouterr().err
    assert says in said and len(said.splitlines()) <= 3
    assert not (tmp_path / "O").exists()


def test_from_texts_to_kept_texts(tmp_path: Path, capsys: Printed) -> None:
    """Tokenised, deduplicated, and written as they stood: two spaces are no token."""
    source, words = tmp_path / "texts.jsonl", tokenizer(tmp_path / "tokenizer.json", WORDS)
    texts = ["a b  c d", "e  f", "", "i  b  c d  h"]
    source.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    given = ["--tokenizer", words]
    assert (
        main(["corpus", "tokenize", str(source), str(tmp_path / "in"), *given, "--jobs", "1"]) == 0
    )
    command = ["corpus", "dedup", str(tmp_path / "in"), "--rule", "ngram:3", *given]
    assert main([*command, "--out", str(tmp_path / "out"), "--source", str(source)]) == 0
    lines = (tmp_path / "out" / "kept.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines] == ["a b  c d", "e  f", "", "i", "h"]
    assert (
        main(
            [
                "corpus",
                "dedup",
                str(tmp_path / "out"),
                "--rule",
                "exact",
                *given,
                "--source",
                str(source),
                "--out",
                str(tmp_path / "o2"),
            ]
        )
        == 2
    )
    assert "do not say what they were made of" in capsys.readouterr().err


def test_without_an_index_nothing_is_written(
    tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    make_shards(tmp_path / "in", DOCUMENTS, vocab_size=10, shard_documents=2)
    out = tmp_path / "out"
    words = [
        "corpus",
        "dedup",
        str(tmp_path / "in"),
        "--rule",
        "exact",
        "ngram:3",
        "--out",
        str(out),
    ]
    assert main(words) == 2
    assert "stillage corpus index" in capsys.readouterr().err
    assert not out.exists()


def test_a_signal_that_nobody_raised_ends_the_work_at_the_next_step() -> None:
    """One that came within a compiler's callback is swallowed there, and only remembered."""
    stop = Stop()
    show = stoppable(Board(), stop)
    show("exact", {"done": 1})
    stop.number = 2
    with pytest.raises(Stopped):
        show("exact", {"done": 2})
