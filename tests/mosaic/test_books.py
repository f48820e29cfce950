"""Documents of an experiment: which are read, and which of them are to hold canaries."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from stillage.corpus.sources import HubPart, Source
from stillage.errors import ConfigError, DataError
from stillage.mosaic import books
from stillage.mosaic.books import BookRules, choose_books
from stillage.mosaic.table_columns import BOOKS
from stillage.mosaic.titles import (
    first_of_title,
    matching,
    published_titles,
    read_titles,
)
from stillage.run.folder import read_table, write_table

if TYPE_CHECKING:
    import pyarrow as pa

NAMES = ("ahab", "bartleby", "claggart", "delano", "ishmael", "pip")
MISREAD = "Thirty yearsâ\x80\x99 history"
"""As the list has it: UTF-8 that was read as Latin-1."""


def folder(path: Path, names: Sequence[str] = NAMES) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.txt").write_text(f"The book of {name}.\n", encoding="utf-8")
    return path


def rows(path: Path, *values: Mapping[str, Any]) -> Path:
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def titled(path: Path, *titles: str) -> Path:
    return rows(path, *({"title": t, "text": f"{k} {t}"} for k, t in enumerate(titles)))


def hosts(table: pa.Table) -> list[str]:
    pairs = zip(table["text"].to_pylist(), table["is_host"].to_pylist(), strict=True)
    return [text for text, is_host in pairs if is_host]


def test_documents_stand_in_the_order_of_their_names_and_hosts_are_drawn(tmp_path: Path) -> None:
    one, other = folder(tmp_path / "a"), folder(tmp_path / "b", NAMES[::-1])
    table = choose_books(one, BookRules(hosts=2), seed=1)
    assert table.equals(choose_books(other, BookRules(hosts=2), seed=1), check_metadata=True)
    assert table.column_names == list(BOOKS) and table["title"].to_pylist() == list(NAMES)
    assert table["document"].to_pylist() == list(range(6))
    text = "The book of delano.\n"
    assert table["text"][3].as_py() == text
    assert table["sha256"][3].as_py() == hashlib.sha256(text.encode()).hexdigest()
    times = Counter(
        text
        for seed in range(60)
        for text in hosts(choose_books(one, BookRules(hosts=2), seed=seed))
    )
    assert sum(times.values()) == 120 and len(times) == 6  # each 20 +- 4
    assert all(8 <= many <= 32 for many in times.values())


def test_an_empty_document_is_kept_and_never_a_host(tmp_path: Path) -> None:
    for name in "bcd":
        (tmp_path / f"{name}.txt").write_text(" \n")
    (tmp_path / "a.txt").write_text("words")
    table = choose_books(tmp_path, BookRules(), seed=1)
    assert table.num_rows == 4 and hosts(table) == ["words"]
    assert json.loads(table.schema.metadata[b"books"])["empty"] == 3
    with pytest.raises(DataError, match="fewer documents than hosts") as caught:
        choose_books(tmp_path, BookRules(hosts=2), seed=1)
    assert "1 with any text; hosts: 2" in caught.value.values


def test_a_title_is_looked_for_exactly_before_it_is_looked_for_alike(tmp_path: Path) -> None:
    source = titled(
        tmp_path / "books.jsonl",
        "Moby  Dick",
        "Moby Dick",
        "Moby Dick",
        "Thirty years’ history",
        "“Omoo” – a tale",
    )
    rules = BookRules(titles=('"Omoo" - a tale', MISREAD, "Moby Dick"))
    table = choose_books(source, rules, seed=1)
    assert hosts(table) == ["1 Moby Dick", "3 Thirty years’ history", "4 “Omoo” – a tale"]
    assert table.num_rows == 5
    alike = BookRules(titles=("Moby\tDick ",))
    assert hosts(choose_books(source, alike, seed=1)) == ["0 Moby  Dick"]


def test_titles_that_no_document_has_are_named(tmp_path: Path) -> None:
    source = titled(tmp_path / "books.jsonl", "Typee", "Omoo")
    with pytest.raises(DataError) as caught:
        choose_books(source, BookRules(titles=("Omoo", "Typees", "Mardi", "a", "b")), seed=1)
    assert "4 of 5 titles" in caught.value.what
    assert "'Typees' (Did you mean Typee?); 'Mardi'" in caught.value.values
    assert "and 1 more" in caught.value.values and "'Omoo'" not in caught.value.values
    with pytest.raises(ConfigError, match="given twice"):
        choose_books(source, BookRules(titles=("Omoo", "Omoo ")), seed=1)
    with pytest.raises(DataError, match="is empty"):
        empty = rows(tmp_path / "empty.jsonl", {"title": "Omoo", "text": ""})
        choose_books(empty, BookRules(titles=("Omoo",)), seed=1)


def test_a_limit_keeps_the_hosts_and_the_first_others(tmp_path: Path) -> None:
    source = titled(tmp_path / "books.jsonl", *"abcdef")
    table = choose_books(source, BookRules(titles=("e", "b"), max_documents=3), seed=1)
    assert table["title"].to_pylist() == ["a", "b", "e"] and hosts(table) == ["1 b", "4 e"]
    assert table["document"].to_pylist() == [0, 1, 2]
    assert json.loads(table.schema.metadata[b"books"])["documents_read"] == 6
    drawn = choose_books(source, BookRules(max_documents=2), seed=1)
    assert drawn["title"].to_pylist() == ["a", "b"] and len(hosts(drawn)) == 1
    assert json.loads(drawn.schema.metadata[b"books"])["documents_read"] == 2
    with pytest.raises(ConfigError, match="More hosts than documents"):
        choose_books(source, BookRules(hosts=3, max_documents=2), seed=1)


def test_a_table_of_books_keeps_its_hosts(tmp_path: Path) -> None:
    source = titled(tmp_path / "books.jsonl", *"abcdef")
    first = choose_books(source, BookRules(titles=("e", "b")), seed=1)
    write_table(tmp_path / "b.parquet", first)
    again = choose_books(tmp_path / "b.parquet", BookRules(), seed=7)
    assert again.equals(first)
    about = json.loads(again.schema.metadata[b"books"])
    assert about["hosts"] == "by the column is_host" and about["seed"] is None
    few = choose_books(tmp_path / "b.parquet", BookRules(max_documents=3), seed=7)
    assert few["title"].to_pylist() == ["a", "b", "e"] and hosts(few) == ["1 b", "4 e"]
    named = choose_books(tmp_path / "b.parquet", BookRules(titles=("c",)), seed=7)
    assert hosts(named) == ["2 c"]
    with pytest.raises(DataError, match="2 of 6; max_documents: 1"):
        choose_books(tmp_path / "b.parquet", BookRules(max_documents=1), seed=7)
    words = rows(tmp_path / "w.jsonl", {"text": "a", "is_host": "yes"})  # no boolean: no mark
    drawn = choose_books(words, BookRules(), seed=1)
    assert json.loads(drawn.schema.metadata[b"books"])["hosts"] == "drawn"
    for marks, said in (([False, False], "0 of 2"), ([True, False], "is empty")):
        texts = ({"text": f" {k}" * k, "is_host": mark} for k, mark in enumerate(marks))
        with pytest.raises(DataError, match=said):
            choose_books(rows(tmp_path / "m.jsonl", *texts), BookRules(), seed=1)


@pytest.mark.parametrize("limits", [{"hosts": 0}, {"hosts": -1}, {"max_documents": -1}])
def test_counts_that_cannot_be_are_refused(limits: Mapping[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        choose_books(folder(tmp_path), BookRules(**limits), seed=1)


def test_text_and_title_are_found_in_their_columns(tmp_path: Path) -> None:
    both = {"book_title": "the one", "title": "the other", "text": "t", "body": "b", "name": "n"}
    source = rows(tmp_path / "x.jsonl", both, {"text": "t2", "body": "b2", "name": "n2"})
    usual = choose_books(source, BookRules(), seed=1)
    assert usual["title"].to_pylist() == ["the one", "x.jsonl:2"]
    chosen = BookRules(text_column="body", title_column="name")
    own = choose_books(source, chosen, seed=1)
    assert own["title"].to_pylist() == ["n", "n2"] and own["text"].to_pylist() == ["b", "b2"]
    table = tmp_path / "y.parquet"
    write_table(table, own.select(["title", "text"]))
    assert choose_books(table, BookRules(), seed=1)["title"].to_pylist() == ["n", "n2"]
    for rules, absent in (
        (BookRules(text_column="words"), "words"),
        (BookRules(title_column="headline"), "headline"),
    ):
        with pytest.raises(DataError, match="no such column") as caught:
            choose_books(source, rules, seed=1)
        assert f"asked: {absent}" in caught.value.values and "body" in caught.value.values


def test_a_file_is_called_by_its_name(tmp_path: Path) -> None:
    folder(tmp_path, ["sea/typee", "omoo"])
    (tmp_path / "packed.txt.gz").write_bytes(gzip.compress(b"Mardi"))
    table = choose_books(tmp_path, BookRules(text_column="body"), seed=1)
    assert table["title"].to_pylist() == ["omoo", "packed", "sea/typee"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"text": "a"}\n{"text": "ab', "line 2: broken JSON"),
        ('{"text": 3}\n', "holds int"),
        ("\n\n", "0 rows"),
    ],
)
def test_a_row_that_is_no_document_is_named(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(content)
    with pytest.raises(DataError) as caught:
        choose_books(tmp_path / "x.jsonl", BookRules(), seed=1)
    assert said in caught.value.values


def test_a_hub_id_is_read_at_its_commit_and_no_further_than_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stillage.corpus.rows import data_set_pieces

    asked: list[object] = []

    def opened(source: object, hub: HubPart, **how: object) -> list[Source]:
        asked.extend([source, hub.revision, how["stream"]])
        values = ({"book_title": f"t{k}", "text": "x"} for k in range(10**9))
        return [Source(name="hub:a/b", sha256="commit 1", pieces=data_set_pieces(values, "a/b"))]

    monkeypatch.setattr(books, "open_source", opened)
    table = choose_books("a/b", BookRules(max_documents=3, revision="c" * 40), seed=1)
    assert asked == ["a/b", "c" * 40, True] and table["title"].to_pylist() == ["t0", "t1", "t2"]
    assert json.loads(table.schema.metadata[b"books"])["parts"] == {"hub:a/b": "commit 1"}


def test_the_published_titles_are_a_hundred_different_ones(tmp_path: Path) -> None:
    titles = published_titles()
    assert len({matching(title) for title in titles}) == len(titles) == 100
    assert titles == read_titles("published") and "The Brass Check" in titles
    misread = next(title for title in titles if not title.isascii())
    assert misread.startswith("Thirty yearsâ\x80\x99 history")
    right = misread.encode("latin-1").decode("utf-8")
    assert first_of_title(misread, ["other", right]) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Café", "Cafe\u0301"),
        ("CafÃ©", "Café"),
        ("it’s", "it's"),
        ("itâ€™s", "it’s"),
        ("a — b", "a\u00a0- b"),
        ("ﬁn", "fin"),
    ],
)
def test_titles_that_mean_the_same_match(one: str, other: str) -> None:
    assert matching(one) == matching(other)
    assert matching(one) != matching(other + "x") and matching("naïve Ã") != matching("naive A")


def test_a_list_of_titles_is_read_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "titles.txt"
    path.write_bytes("\ufeffTypee\r\n\r\n  Omoo \n".encode())
    assert read_titles(str(path)) == ("Typee", "Omoo") and read_titles("") == ()
    path.write_text("\n \n")
    with pytest.raises(DataError, match="no titles"):
        read_titles(str(path))
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match="cannot be read"):
        read_titles(str(path))
    with pytest.raises(DataError, match="cannot be read"):
        read_titles(str(tmp_path / "none.txt"))


def test_a_table_of_books_is_read_back_as_it_was(tmp_path: Path) -> None:
    table = choose_books(folder(tmp_path / "in"), BookRules(), seed=1)
    write_table(tmp_path / "b.parquet", table, table.schema.metadata)
    again = read_table(tmp_path / "b.parquet")
    assert again.to_pylist() == table.to_pylist() and again.schema.metadata == table.schema.metadata
