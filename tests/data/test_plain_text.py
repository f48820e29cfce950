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
from stillage.data.parts import parse_pool, part_of, select
from stillage.data.plain_text import (
    MARK,
    collapse_newlines,
    from_line,
    measure,
    plain_text_files,
    read_plain_text,
    to_line,
    write_plain_text,
)
from stillage.data.records import read_records
from stillage.errors import ConfigError, DataError
from stillage.types import Record

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
    corpus = write_plain_text(source, folder / "out.txt")
    expected = [re.sub(r"[\r\n]+", "\n", text) for text in texts]
    assert list(read_plain_text(folder / "out.txt")) == expected
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
    corpus = write_plain_text(source, tmp_path / "out")
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
    counted = measure(out)
    assert (counted.documents, counted.characters, counted.longest) == (
        4,
        corpus.characters,
        corpus.longest,
    )
    before = out.read_bytes()
    write_plain_text(source, tmp_path / "out")
    assert out.read_bytes() == before


def test_one_document_per_line_and_the_format_itself_as_source(tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text(f"one{MARK}two\n\nthree\n")
    with pytest.raises(
        DataError, match=r"mark for a newline[\s\S]*in.txt, line 1, character 4[\s\S]*--txt lines"
    ):
        write_plain_text(tmp_path / "in.txt", tmp_path / "out.txt")
    corpus = write_plain_text(tmp_path / "in.txt", tmp_path / "out.txt", txt="lines")
    assert (tmp_path / "out.txt").read_text() == f"one{MARK}two\nthree\n"
    assert (corpus.documents, corpus.empty) == (2, 1)


def test_a_document_with_the_mark_is_refused_or_counted(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "fine"}\n{"text": "not <@x(x!> fine"}\n')
    with pytest.raises(DataError, match="line 2, character 5"):
        write_plain_text(source, tmp_path / "out.txt")
    assert not (tmp_path / "out.txt").exists()
    corpus = write_plain_text(source, tmp_path / "out.txt", on_mark="drop")
    assert (corpus.documents, corpus.marked) == (1, 1) and f"spell {MARK}" in corpus.summary()
    with pytest.raises(DataError, match="spells"):
        to_line(f"a {MARK}")


def test_bad_rows_are_refused_or_counted_with_their_place(tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(
        b'{"text": "good"}\n{"text": 3}\n{broken\n{"text": "\\ud800"}\n\xff\n{"text": "end"}\n'
    )
    with pytest.raises(DataError, match=r"line 2: column text holds int"):
        write_plain_text(source, tmp_path / "out.txt")
    corpus = write_plain_text(source, tmp_path / "out.txt", max_bad_lines=4)
    assert [line.line for line in corpus.bad_lines] == [2, 3, 4, 5] and corpus.documents == 2
    with pytest.raises(DataError, match=r"4 rows of the source are no text[\s\S]*now 3"):
        write_plain_text(source, tmp_path / "out.txt", max_bad_lines=3)
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(DataError, match="0xe9"):
        write_plain_text(tmp_path / "latin.txt", tmp_path / "out.txt")
    with pytest.raises(DataError, match="line 1: byte 0xe9"):
        list(read_plain_text(tmp_path / "latin.txt"))


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
        write_plain_text(tmp_path / "in.jsonl", tmp_path / "out.txt", **options)


def test_sources_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        write_plain_text(tmp_path / "no.txt", tmp_path / "out.txt")
    with pytest.raises(DataError, match="holds no text"):
        write_plain_text(tmp_path, tmp_path / "out.txt")
    with pytest.raises(DataError, match="no plain-text corpus"):
        plain_text_files(tmp_path / "no")
    with pytest.raises(DataError, match="needs its commit"):
        write_plain_text("openwebtext", tmp_path / "out.txt")


def test_the_hub_is_streamed_at_a_commit_and_a_limit_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def load(name: str, subset: str | None, **options: object) -> object:
        asked.append((name, subset, options))
        return ({"text": f"document\n\n{number}"} for number in range(10**9))

    monkeypatch.setattr(datasets, "load_dataset", load)
    corpus = write_plain_text("openwebtext", tmp_path / "out.txt", revision=COMMIT, limit=3)
    assert asked == [
        ("openwebtext", None, {"split": "train", "revision": COMMIT, "streaming": True})
    ]
    assert list(read_plain_text(tmp_path / "out.txt")) == [
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
        write_plain_text("openwebtext", tmp_path / "out.txt", revision=COMMIT)
    assert list(tmp_path.iterdir()) == []


def test_a_saved_data_set(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"text": ["a\nb", "c"]}).save_to_disk(str(tmp_path / "saved"))
    assert write_plain_text(tmp_path / "saved", tmp_path / "out.txt").documents == 2
    assert list(read_plain_text(tmp_path / "out.txt")) == ["a\nb", "c"]
    parts = datasets.DatasetDict(
        train=datasets.Dataset.from_dict({"text": ["a"]}),
        test=datasets.Dataset.from_dict({"text": ["b"]}),
    )
    parts.save_to_disk(str(tmp_path / "parts"))
    assert write_plain_text(tmp_path / "parts", tmp_path / "out.txt").skipped_files == (
        "parts:test",
    )
    assert write_plain_text(f"{tmp_path / 'parts'}:test", tmp_path / "out.txt").sources.keys() == {
        "parts:test"
    }
    assert list(read_plain_text(tmp_path / "out.txt")) == ["b"]


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


def test_dolly_as_published_is_read_by_the_usual_columns(tmp_path: Path) -> None:
    rows = [
        {
            "instruction": "Name a colour.",
            "input": "",
            "output": "Red.",
            "prompt": "Below is ... Name a colour.",
        },
        {
            "instruction": "Sum up.",
            "input": "A text.",
            "output": ["Short.", "Brief."],
            "prompt": "Below is ...",
        },
    ]
    (tmp_path / "valid.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    first, second = read_records(tmp_path / "valid.jsonl").records
    assert (first.prompt, first.input, first.response) == ("Name a colour.", "", "Red.")
    assert (second.prompt, second.input, second.response) == ("Sum up.", "A text.", "Short.")
    assert json.loads(second.meta["references"]) == ["Short.", "Brief."]


def records(count: int, name: str = "r") -> list[Record]:
    return [
        Record(id=f"{name}{number:04d}", prompt="p", response=str(number))
        for number in range(count)
    ]


@settings(deadline=None, max_examples=50)
@given(count=st.integers(1, 60), data=st.data())
def test_parts_are_disjoint_equal_and_independent_of_order(count: int, data: st.DataObject) -> None:
    parts = data.draw(st.integers(1, count))
    pool = records(count)
    drawn = [part_of(pool, part, parts, seed=3) for part in range(1, parts + 1)]
    ids = [record.id for part in drawn for record in part]
    assert sorted(ids) == [record.id for record in pool]
    assert max(map(len, drawn)) - min(map(len, drawn)) <= 1
    assert part_of(data.draw(st.permutations(pool)), 1, parts, seed=3) == drawn[0]


def test_a_part_is_a_random_draw_that_the_seed_decides() -> None:
    pool = records(200)
    half = {record.id for record in part_of(pool, 1, 2, seed=1)}
    assert half != {record.id for record in part_of(pool, 1, 2, seed=2)}
    assert 30 < len(half & {record.id for record in pool[:100]}) < 70


def test_choices_of_training_records() -> None:
    split = {"private": records(10, "a"), "public": records(6, "b"), "outsiders": records(5, "c")}
    assert [len(select(split, text, 1).records) for text in ("private", "public", "all")] == [
        10,
        6,
        16,
    ]
    halves = [select(split, f"private {part} of 2", 1) for part in (1, 2)]
    assert [len(half.records) for half in halves] == [5, 5]
    assert (
        halves[0].about["of"] == 10
        and halves[0].about["ids_sha256"] != halves[1].about["ids_sha256"]
    )
    assert parse_pool(" public  3 of 5 ") == ("public", 3, 5)
    for text in ("outsiders", "private 3 of 2", "private 0 of 2", "private 1", ""):
        with pytest.raises(ConfigError, match="given"):
            parse_pool(text)
    with pytest.raises(DataError, match="fewer records"):
        select(split, "public 1 of 7", 1)
    with pytest.raises(DataError, match="no records with role: public"):
        select({"private": records(2)}, "all", 1)
    with pytest.raises(DataError, match="twice"):
        part_of(records(3) + records(3), 1, 2, 1)
    with pytest.raises(ConfigError, match="no such part"):
        part_of(records(3), 4, 3, 1)
