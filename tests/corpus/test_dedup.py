"""Deduplication: what is kept and what went add up to what was there, by brute force."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plain_removal
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards

from stillage.corpus import dedup, dedup_rules
from stillage.corpus.cuts import Rest, covered_tokens, kept_runs, read_spans
from stillage.corpus.dedup import Choice, deduplicate
from stillage.corpus.dedup_rules import Keep, read_rules
from stillage.corpus.shards import ShardSet, document_table, open_shards
from stillage.errors import ConfigError, DataError, Interrupted
from stillage.run.folder import read_json, read_table

Documents = Sequence[Sequence[int]]
SMALL = st.lists(st.lists(st.integers(0, 2), max_size=8), max_size=7)


@pytest.fixture(autouse=True)
def removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """N-grams by brute force, which needs no index."""
    monkeypatch.setattr(dedup_rules, "removal_spans", plain_removal.removal_spans)
    monkeypatch.setattr(dedup_rules, "open_index", lambda shard: None)


def choice(*rules: str, keep: Keep = "first", rest: Rest = "split") -> Choice:
    return Choice(rules=read_rules(rules), keep=keep, rest=rest)


def kept_documents(corpus: ShardSet) -> list[list[int]]:
    """The documents of all shards, as lists."""
    return [
        shard.tokens_T[start:end].tolist()
        for shard in corpus.shards
        for start, end in zip(shard.offsets_D[:-1], shard.offsets_D[1:], strict=True)
    ]


def rows_of(corpus: ShardSet) -> list[dict[str, Any]]:
    """Where each kept document came from."""
    return [row for shard in corpus.shards for row in document_table(corpus, shard).to_pylist()]


def test_keep_one_removes_60_of_90_tokens_and_keep_none_all(tmp_path: Path) -> None:
    """30 tokens in 3 documents, with words of their own around them; never parts of a copy."""
    passage = list(range(100, 130))
    documents = [[1, 2, *passage, 3], [4, *passage, 5, 6], [7, *passage]]
    corpus = make_shards(tmp_path / "in", documents, vocab_size=200, shard_documents=2)
    one = deduplicate(corpus, choice("ngram:10"), tmp_path / "one")
    assert one["removed_tokens"] == 60
    assert kept_documents(open_shards(tmp_path / "one")) == [documents[0], [4], [5, 6], [7]]
    none = deduplicate(corpus, choice("ngram:10", keep="none"), tmp_path / "none")
    assert none["removed_tokens"] == 90
    assert kept_documents(open_shards(tmp_path / "none")) == [[1, 2], [3], [4], [5, 6], [7]]
    joined = deduplicate(corpus, choice("ngram:10", rest="join"), tmp_path / "joined")
    assert (joined["removed_tokens"], joined["rest"]) == (60, "join")
    assert kept_documents(open_shards(tmp_path / "joined")) == [documents[0], [4, 5, 6], [7]]
    assert (one["keep"], none["keep"]) == ("first", "none")
    assert read_table(tmp_path / "one" / "removed.parquet").to_pylist() == [
        {
            **{"document": at, "start": 1, "end": 31, "copy_document": 0, "copy_start": 2},
            **{"rule": "ngram:10", "id": f"d{at}", "copy_id": "d0"},
        }
        for at in (1, 2)
    ]
    assert rows_of(open_shards(tmp_path / "one"))[1:3] == [
        {
            **{"document": 1, "id": "d1:0-1", "source": "made", "line": 2},
            **{"of_document": 1, "start": 0, "end": 1},
        },
        {
            **{"document": 2, "id": "d1:31-33", "source": "made", "line": 2},
            **{"of_document": 1, "start": 31, "end": 33},
        },
    ]


@settings(deadline=None, max_examples=15)
@given(
    documents=SMALL,
    rules=st.sets(st.sampled_from(["exact", "ngram:2", "ngram:4", "jaccard:0.6:2"]), min_size=1),
    keep=st.sampled_from(["first", "none"]),
    rest=st.sampled_from(["split", "join"]),
    shard_documents=st.integers(1, 4),
)
def test_kept_and_removed_are_what_was_there(
    tmp_path_factory: pytest.TempPathFactory,
    documents: Documents,
    rules: set[str],
    keep: Keep,
    rest: Rest,
    shard_documents: int,
) -> None:
    folder, chosen = tmp_path_factory.mktemp("c"), choice(*sorted(rules), keep=keep, rest=rest)
    corpus = make_shards(folder / "in", documents, 9, shard_documents)
    counts = deduplicate(corpus, chosen, folder / "out")
    after, removed = open_shards(folder / "out"), read_table(folder / "out" / "removed.parquet")
    gone = {
        (row["document"], at)
        for row in removed.to_pylist()
        for at in range(row["start"], row["end"])
    }
    expected: list[list[int]] = []
    for number, ids in enumerate(documents):
        runs: list[list[int]] = [[]]
        for at, token in enumerate(ids):
            if (number, at) in gone:
                runs.append([])
            else:
                runs[-1].append(token)
        full = [run for run in runs if run] if ids else [[]]  # an empty document stays
        expected += (
            full if rest == "split" else [[token for run in full for token in run]] if full else []
        )
    assert kept_documents(after) == expected
    assert counts["removed_tokens"] == len(gone) == sum(map(len, documents)) - after.tokens
    assert (counts["kept_tokens"], counts["kept_documents"]) == (after.tokens, after.documents)
    for number, row in enumerate(rows_of(after)):
        before = documents[row["of_document"]]
        assert row["document"] == number
        assert row["id"] == f"d{row['of_document']}" or 0 <= row["start"] < row["end"] <= len(
            before
        )
    one = make_shards(folder / "all", documents, 9, 99)  # however it is cut into shards
    deduplicate(one, chosen, folder / "out2")
    assert kept_documents(open_shards(folder / "out2")) == expected
    assert read_table(folder / "out2" / "removed.parquet").equals(removed)


def test_a_second_rule_is_judged_on_the_corpus_as_it_was(tmp_path: Path) -> None:
    """What `exact` takes is seen by `ngram` too: each rule counts as if it were alone."""
    documents = [[1, 2, 3, 4], [1, 2, 3, 4], [9, 1, 2, 3]]
    corpus = make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=9)
    both = deduplicate(corpus, choice("exact", "ngram:3"), tmp_path / "both")
    for rule in ("exact", "ngram:3"):
        alone = deduplicate(corpus, choice(rule), tmp_path / rule.replace(":", ""))
        assert alone["by_rule"][rule] == both["by_rule"][rule]
    assert (both["removed_tokens"], both["copies_gone_too"]) == (7, 0)
    assert kept_documents(open_shards(tmp_path / "both")) == [[1, 2, 3, 4], [9]]


def test_a_copy_that_another_rule_removed_is_said(tmp_path: Path) -> None:
    """d1 is near d0 and goes; d2 loses a passage as the copy of one that stood in d1 alone."""
    documents = [[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 7, 8], [7, 8, 9]]
    corpus = make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=9)
    counts = deduplicate(corpus, choice("jaccard:0.5:1", "ngram:2"), tmp_path / "out")
    assert counts["copies_gone_too"] == 1
    assert kept_documents(open_shards(tmp_path / "out")) == [[1, 2, 3, 4, 5, 6], [9]]


def test_short_texts_under_ngrams_are_compared_whole(tmp_path: Path) -> None:
    """n=5, texts cat, dog, cat: dog stays, one cat is a copy; empty ones all stay."""
    documents = [[7, 8, 9], [1, 2], [7, 8, 9], [], []]
    corpus = make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=2)
    deduplicate(corpus, choice("ngram:5"), tmp_path / "out")
    assert kept_documents(open_shards(tmp_path / "out")) == [[7, 8, 9], [1, 2], [], []]


@pytest.mark.parametrize("documents", [[], [[]], [[], [], []]])
def test_a_corpus_without_tokens_is_kept(tmp_path: Path, documents: Documents) -> None:
    corpus = make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=2)
    rules = choice("exact", "ngram:2", "jaccard:0.8")
    assert deduplicate(corpus, rules, tmp_path / "out")["removed_tokens"] == 0
    assert kept_documents(open_shards(tmp_path / "out")) == documents


@pytest.mark.parametrize("dies_at", range(9))
def test_what_was_stopped_anywhere_continues_to_the_same_files(
    tmp_path: Path, dies_at: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    documents = [[1, 2, 3, 4], [5, 6], [1, 2, 3], [5, 6], [8]]
    corpus = make_shards(tmp_path / "in", documents, vocab_size=10, shard_documents=3)
    rules, whole, out = choice("exact", "ngram:2"), tmp_path / "whole", tmp_path / "out"
    deduplicate(corpus, rules, whole)
    left = dies_at
    with monkeypatch.context() as patch:
        for name in ("write_json", "write_table", "write_tokens"):
            real = getattr(dedup, name)

            def write(*given: Any, real: Any = real, **named: Any) -> Any:  # noqa: ANN401
                nonlocal left
                if left == 0:
                    raise Interrupted("The disk is full.")
                left -= 1
                return real(*given, **named)

            patch.setattr(dedup, name, write)
        with pytest.raises(Interrupted):
            deduplicate(corpus, rules, out)
    assert not (out / "manifest.json").exists()
    deduplicate(corpus, rules, out)
    assert deduplicate(corpus, rules, out) == read_json(whole / "manifest.json")["dedup"]
    files = {
        path.relative_to(whole): path.read_bytes() for path in whole.rglob("*") if path.is_file()
    }
    assert {path: (out / path).read_bytes() for path in files} == files
    assert {p.name for p in out.iterdir()} == {p.name for p in whole.iterdir()}


def test_other_settings_or_another_folder_are_refused(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path / "in", [[1, 2]], vocab_size=10, shard_documents=2)
    deduplicate(corpus, choice("exact"), tmp_path / "out")
    with pytest.raises(ConfigError, match="rules: exact -> ngram:2; keep: first -> none"):
        deduplicate(corpus, choice("ngram:2", keep="none"), tmp_path / "out")
    with pytest.raises(ConfigError, match="over itself"):
        deduplicate(corpus, choice("exact"), tmp_path / "in")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("x")
    with pytest.raises(ConfigError, match="something else"):
        deduplicate(corpus, choice("exact"), tmp_path / "mine")
    with pytest.raises(ConfigError, match="is a file"):
        deduplicate(corpus, choice("exact"), tmp_path / "mine" / "notes")


@settings(deadline=None, max_examples=50)
@given(
    spans=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(1, 5)), max_size=8)
)
def test_overlapping_spans_count_each_token_once(spans: list[tuple[int, int, int]]) -> None:
    import pyarrow as pa

    rows = [{"document": d, "start": s, "end": s + n} for d, s, n in spans]
    kinds = pa.schema([(name, pa.int64()) for name in ("document", "start", "end")])
    read = read_spans(pa.Table.from_pylist(rows, schema=kinds))
    gone = {(row["document"], at) for row in rows for at in range(row["start"], row["end"])}
    assert covered_tokens(read) == len(gone)
    kept = [at for start, end in kept_runs(14, *read.of(2)) for at in range(start, end)]
    assert kept == [at for at in range(14) if (2, at) not in gone]


def test_a_finished_folder_that_was_damaged_since_is_no_result(tmp_path: Path) -> None:
    corpus = make_shards(tmp_path / "shards", [[1, 2], [1, 2], [3]], 9, shard_documents=2)
    choice, out = Choice(rules=read_rules(["exact"])), tmp_path / "out"
    counts = deduplicate(corpus, choice, out)
    assert deduplicate(corpus, choice, out) == counts
    shard, manifest = out / "shard-00000.safetensors", out / "manifest.json"
    whole, said = shard.read_bytes(), manifest.read_text()
    shard.write_bytes(whole[:-3])
    with pytest.raises(DataError, match="shard is damaged"):
        deduplicate(corpus, choice, out)
    shard.write_bytes(whole)
    manifest.write_text(said[:20])
    with pytest.raises(DataError, match="manifest of the shards is damaged"):
        deduplicate(corpus, choice, out)
    for content in ("{", "5"):
        (out / "dedup.json").write_text(content)
        with pytest.raises(ConfigError, match="settings is damaged"):
            deduplicate(corpus, choice, out)
