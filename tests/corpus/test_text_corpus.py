"""The plain-text corpus: what is written comes back, and nothing is lost without being counted."""

from __future__ import annotations

import json
import re
from pathlib import Path

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stillage.cli import plain_text as cli
from stillage.corpus.sources import HubPart
from stillage.corpus.text_corpus import (
    MARK,
    DocumentRules,
    collapse_newlines,
    corpus_files,
    from_line,
    measure_text_corpus,
    read_text_corpus,
    to_line,
    write_text_corpus,
)
from stillage.errors import ConfigError, DataError

COMMIT = "a" * 40
PIECES = st.lists(
    st.sampled_from(
        ["a", " ", "\n", "\r", "<", "@", "x", "(", "!", ">", "é", "\u2028", "\x85", "\ufeff", "\0"]
    )
)
TEXTS = st.one_of(st.text(st.characters(exclude_categories=["Cs"])), PIECES.map("".join)).filter(
    lambda t: MARK not in t
)


@settings(deadline=None, max_examples=50)
@given(TEXTS)
def test_a_document_survives_but_for_runs_of_newlines(text: str) -> None:
    line = to_line(text)
    assert "\n" not in line and "\r" not in line
    assert from_line(line) == re.sub(r"[\r\n]+", "\n", text) == collapse_newlines(text)


@settings(deadline=None, max_examples=50)
@given(texts=st.lists(TEXTS.filter(lambda text: text.strip() != ""), min_size=1, max_size=6))
def test_a_corpus_survives_the_file(
    texts: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("corpus")
    source = folder / "in.jsonl"
    source.write_text(
        "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
    )
    corpus = write_text_corpus(source, folder / "out.txt")
    expected = [re.sub(r"[\r\n]+", "\n", text) for text in texts]
    assert list(read_text_corpus(folder / "out.txt")) == expected
    assert (corpus.documents, corpus.characters) == (len(texts), sum(map(len, expected)))
    with (folder / "out.txt").open(
        encoding="utf-8"
    ) as handle:  # as other readers open it: lines end at \r too
        assert [line.removesuffix("\n").replace(MARK, "\n") for line in handle] == expected


def test_a_folder_of_everything_in_the_order_of_names(tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "b").mkdir(parents=True)
    (source / "b" / "book.txt").write_bytes(b"\xef\xbb\xbfChapter one\r\n\r\n\r\nIt rained.\r\n")
    (source / "a.jsonl").write_text(
        '{"text": "first"}\n\n{"text": "  \\n"}\n{"text": "second\\n\\nhalf"}\n'
    )
    pq.write_table(pa.table({"text": ["third", None], "n": [1, 2]}), source / "c.parquet")
    (source / "README.md").write_text("no data")
    (source / ".hidden.txt").write_text("no data")
    corpus = write_text_corpus(source, tmp_path / "out")
    out = tmp_path / "out" / "data.txt"
    assert out.read_text() == f"first\nsecond{MARK}half\nChapter one{MARK}It rained.{MARK}\nthird\n"
    assert (corpus.documents, corpus.empty, corpus.collapsed, corpus.skipped_files) == (
        4,
        3,
        2,
        ("README.md",),
    )
    assert list(corpus.sources) == ["a.jsonl", "b/book.txt", "c.parquet"]
    for words in ("4 documents", "3 empty documents left out", "1 other files skipped"):
        assert words in corpus.summary()
    manifest = json.loads((tmp_path / "out" / "data.txt.manifest").read_text())
    assert (manifest["documents"], manifest["empty"], manifest["newline"]) == (4, 3, MARK)
    counted = measure_text_corpus(out)
    assert (counted.documents, counted.characters, counted.longest) == (
        4,
        corpus.characters,
        corpus.longest,
    )
    before = out.read_bytes()
    write_text_corpus(source, tmp_path / "out")
    assert out.read_bytes() == before


def test_one_document_per_line_and_the_format_itself_as_source(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(f"one{MARK}two\n\nthree\n")
    with pytest.raises(
        DataError, match=r"mark for a newline[\s\S]*in.txt, line 1, character 4[\s\S]*--txt lines"
    ):
        write_text_corpus(tmp_path / "in.txt", tmp_path / "out.txt")
    corpus = write_text_corpus(
        tmp_path / "in.txt", tmp_path / "out.txt", DocumentRules(txt="lines")
    )
    assert (tmp_path / "out.txt").read_text() == f"one{MARK}two\nthree\n"
    assert (corpus.documents, corpus.empty) == (2, 1)


def test_a_document_with_the_mark_is_refused_or_counted(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fine"}\n{"text": "not <@x(x!> fine"}\n')
    with pytest.raises(DataError, match="line 2, character 5"):
        write_text_corpus(source, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()
    corpus = write_text_corpus(source, tmp_path / "out.txt", DocumentRules(on_mark="drop"))
    assert (corpus.documents, corpus.marked) == (1, 1) and f"spell {MARK}" in corpus.summary()


def test_bad_rows_are_refused_or_counted_with_their_place(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(
        b'{"text": "good"}\n{"text": 3}\n{broken\n{"text": "\\ud800"}\n\xff\n{"text": "end"}\n'
    )
    with pytest.raises(DataError, match=r"line 2: column text holds int"):
        write_text_corpus(source, tmp_path / "out.txt")
    corpus = write_text_corpus(source, tmp_path / "out.txt", DocumentRules(max_bad_lines=4))
    assert [line.line for line in corpus.bad_lines] == [2, 3, 4, 5] and corpus.documents == 2
    with pytest.raises(DataError, match=r"4 rows of the source are no text[\s\S]*now 3"):
        write_text_corpus(source, tmp_path / "out.txt", DocumentRules(max_bad_lines=3))
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match="0xe9"):
        write_text_corpus(tmp_path / "latin.txt", tmp_path / "out.txt")
    with pytest.raises(DataError, match=r"line 1: invalid UTF-8 .byte 0xe9"):
        list(read_text_corpus(tmp_path / "latin.txt"))


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ('{"text": " "}\n', {}, "holds no document"),
        ('{"body": "x"}\n', {}, "asked: text"),
        ('{"text": "x"}\n', {"limit": -1}, "negative"),
    ],
)
def test_unusable_sources(
    content: str, options: dict[str, int], words: str, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(content)
    with pytest.raises((DataError, ConfigError), match=words):
        write_text_corpus(tmp_path / "in.jsonl", tmp_path / "out.txt", DocumentRules(**options))


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        write_text_corpus(tmp_path / "no.txt", tmp_path / "out.txt")
    with pytest.raises(DataError, match="holds no data"):
        write_text_corpus(tmp_path, tmp_path / "out.txt")
    with pytest.raises(DataError, match="no plain-text corpus"):
        corpus_files(tmp_path / "no")
    with pytest.raises(DataError, match="needs its commit"):
        write_text_corpus("openwebtext", tmp_path / "out.txt")


def test_the_hub_is_streamed_at_a_commit_and_a_limit_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def load(name: str, subset: str | None, **options: object) -> object:
        asked.append((name, subset, options))
        return ({"text": f"document\n\n{number}"} for number in range(10**9))

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = write_text_corpus(
        "openwebtext", tmp_path / "out.txt", DocumentRules(limit=3), HubPart(revision=COMMIT)
    )
    assert asked == [
        ("openwebtext", None, {"split": "train", "revision": COMMIT, "streaming": True})
    ]
    assert list(read_text_corpus(tmp_path / "out.txt")) == [
        f"document\n{number}" for number in range(3)
    ]
    assert corpus.sources == {"hub:openwebtext/train": f"commit {COMMIT}"}


def test_a_hub_that_fails_half_way_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> object:
        yield {"text": "one"}
        raise ConnectionError("cut off")

    monkeypatch.setattr(datasets, "load_dataset", load)
    with pytest.raises(DataError, match=f"openwebtext@{COMMIT}: cut off"):
        write_text_corpus("openwebtext", tmp_path / "out.txt", hub=HubPart(revision=COMMIT))
    assert list(tmp_path.iterdir()) == []


def test_a_saved_data_set(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a\nb", "c"]}).save_to_disk(str(tmp_path / "saved"))
    assert write_text_corpus(tmp_path / "saved", tmp_path / "out.txt").documents == 2
    assert list(read_text_corpus(tmp_path / "out.txt")) == ["a\nb", "c"]
    parts = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"text": ["a"]}),
        test=datasets.Dataset.from_dict({"text": ["b"]}),
    )
    parts.save_to_disk(str(tmp_path / "parts"))
    assert write_text_corpus(tmp_path / "parts", tmp_path / "out.txt").skipped_files == (
        "parts:test",
    )
    assert write_text_corpus(f"{tmp_path / 'parts'}:test", tmp_path / "out.txt").sources.keys() == {
        "parts:test"
    }
    assert list(read_text_corpus(tmp_path / "out.txt")) == ["b"]


def test_the_parts_of_a_copied_hub_data_set(tmp_path: Path) -> None:
    for part in ("train", "test"):
        (tmp_path / f"{part}-0.txt").write_text(part)
        (tmp_path / f"{part}-1.jsonl").write_text(f'{{"text": "{part} 1"}}\n')
    (tmp_path / "README.md").write_text("no data")
    out = tmp_path / "out" / "corpus.txt"
    out.parent.mkdir()
    told = write_text_corpus(tmp_path, out)
    assert told.skipped_files == ("README.md", f"{tmp_path.name}:test")
    assert list(read_text_corpus(out)) == ["train", "train 1"]
    out.unlink()
    write_text_corpus(f"{tmp_path}:test", out)
    assert list(read_text_corpus(out)) == ["test", "test 1"]
    with pytest.raises(DataError, match="found: test, train"):
        write_text_corpus(f"{tmp_path}:dev", out)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in.txt").write_text("one\n\ntwo\n")
    corpus = str(tmp_path / "corpus.txt")
    assert cli.main("data", ["write", str(tmp_path / "in.txt"), corpus]) == 0
    assert "1 documents, 8 characters" in capsys.readouterr().out
    assert cli.main("data", ["read", corpus]) == 0
    assert capsys.readouterr().out == '{"text": "one\\ntwo\\n"}\n'
    assert cli.main("data", ["read", corpus, str(tmp_path / "back.jsonl"), "--limit", "1"]) == 0
    assert (tmp_path / "back.jsonl").read_text() == '{"text": "one\\ntwo\\n"}\n'
    capsys.readouterr()
    assert cli.main("data", ["stats", corpus]) == 0
    assert capsys.readouterr().out.startswith("1 documents")
    assert cli.main("data", []) == 0
    assert "usage: stillage data plain-text" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="Did you mean stats"):
        cli.main("data", ["stat"])
    with pytest.raises(ConfigError, match="write takes SOURCE and OUT"):
        cli.main("data", ["write", corpus])
    with pytest.raises(ConfigError, match="Which tokenizer"):
        cli.main("data", ["pack", corpus, str(tmp_path / "b.safetensors")])
    assert "--max-bad-lines" in cli.help_text("data", ["write", "--help"])
