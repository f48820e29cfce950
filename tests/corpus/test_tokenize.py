"""Tokenising: every document once, in order, in shards that the settings alone decide; what was stopped goes on to the same bytes."""

from __future__ import annotations

import errno
import gzip
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards
from tokenizers import Tokenizer, models, pre_tokenizers

from stillage.corpus import compressed, rows
from stillage.corpus import tokenize as module
from stillage.corpus.document_stream import Running
from stillage.corpus.encode import Encoding
from stillage.corpus.shards import document_table, open_shards
from stillage.corpus.tokenize import TokenizeRules, tokenize
from stillage.corpus.tokenizers import backend_hash, largest_id
from stillage.errors import ConfigError, DataError, Interrupted
from stillage.run import folder as files
from stillage.run.folder import list_files, read_json, read_table, sha256_file

WORDS = [f"w{k}" for k in range(50)]


def words_tokenizer(special: Sequence[str] = ()) -> Tokenizer:
    vocab = {word: k for k, word in enumerate(["?", *WORDS])}
    made = Tokenizer(models.WordLevel(vocab, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(list(special))
    return made


def rules_of(tokenizer: Tokenizer | None = None, **changes: object) -> TokenizeRules:
    """A tokenizer's rules; without one the column `ids`, of a vocabulary of 100."""
    inner = {"id_column": "id", "column": "text" if tokenizer else "ids"}
    inner["rules"] = tokenizer.to_str() if tokenizer else ""
    size = largest_id(tokenizer) + 1 if tokenizer else 100
    names = set(changes) & {"column", "id_column", "vocab_size"}
    encoding = Encoding(
        **{"vocab_size": size, **inner, **{name: changes.pop(name) for name in names}}
    )  # type: ignore[arg-type]
    digest = backend_hash(tokenizer) if tokenizer else ""
    return TokenizeRules(encoding=encoding, tokenizer=digest, **changes)  # type: ignore[arg-type]


def jsonl(path: Path, values: Sequence[object]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    return path


def content(out: Path) -> dict[str, str]:
    """Hashes of all files, by name."""
    return {path.relative_to(out).as_posix(): sha256_file(path) for path in list_files(out)}


def documents(out: Path) -> list[list[int]]:
    corpus = open_shards(out)
    return [
        shard.tokens_T[start:end].tolist()
        for shard in corpus.shards
        for start, end in zip(shard.offsets_D[:-1], shard.offsets_D[1:], strict=True)
    ]


def cut(lengths: Sequence[int], most: int) -> list[int]:
    """How many documents each shard has, one after the other: the rule as it is told."""
    counts: list[int] = []
    held = 0
    for length in lengths:
        if not counts or held + length > most:
            counts.append(0)
            held = 0
        counts[-1] += 1
        held += length
    return counts


@settings(max_examples=25)
@given(
    lists=st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=25),
    most=st.integers(1, 14),
    chunk=st.integers(1, 60),
    bad=st.sets(st.integers(0, 30), max_size=4),
    stop_after=st.integers(1, 40),
)
def test_any_documents_in_any_pieces_are_the_shards_of_the_rule(
    tmp_path_factory: pytest.TempPathFactory,
    lists: list[list[int]],
    most: int,
    chunk: int,
    bad: set[int],
    stop_after: int,
) -> None:
    """Whatever the pieces, and wherever it was stopped: the shards are those of one pass."""
    folder = tmp_path_factory.mktemp("t")
    lines, where = [], []
    for number, ids in enumerate(lists):
        lines += ['{"ids": [1'] * (number in bad) + [json.dumps({"ids": ids})]
        where.append(len(lines))
    lines += ["[]"] * (len(lists) in bad)
    (folder / "a.jsonl").write_text("\n".join(lines))
    broken = len(lines) - len(lists)
    rules, running = rules_of(shard_tokens=most), Running(max_bad=broken)
    source = [str(folder / "a.jsonl")]
    manifest = tokenize(source, folder / "whole", rules, running)
    assert documents(folder / "whole") == lists
    assert [shard["documents"] for shard in manifest["shards"]] == cut([*map(len, lists)], most)
    assert len(manifest["bad_lines"]) == broken
    assert manifest["empty_documents"] == sum(not ids for ids in lists)
    corpus = open_shards(folder / "whole")
    tables = [document_table(corpus, shard) for shard in corpus.shards]
    table = pa.concat_tables(tables)
    assert table["document"].to_pylist() == list(range(len(lists)))
    assert table["line"].to_pylist() == where
    assert table["id"].to_pylist() == [f"a.jsonl:{line}" for line in where]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "CHUNK", chunk)
        stopped_at(patch, stop_after)
        with suppress(KeyboardInterrupt):
            tokenize(source, folder / "pieces", rules, running)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compressed, "CHUNK", chunk)
        assert tokenize(source, folder / "pieces", rules, running) == manifest
    assert content(folder / "pieces") == content(folder / "whole")


def stopped_at(patch: pytest.MonkeyPatch, count: int) -> None:
    """Stop this process as it makes its count-th file whole; a temporary file is left behind."""
    calls, real = [0], files.sync

    def sync(path: Path) -> None:
        calls[0] += 1
        if calls[0] == count:
            (path.parent / f".tmp-left-{count}").write_bytes(b"half")
            raise KeyboardInterrupt
        real(path)

    patch.setattr(files, "sync", sync)


TEXTS = ["w1 w2", "", "w3\u2028w4 w5", "w6 <end> w7\n\n w8", "unknown w9", "w10 " * 40]


def test_every_format_gives_the_ids_of_each_text_alone(tmp_path: Path) -> None:
    tokenizer = words_tokenizer(["<end>"])
    plain = Tokenizer.from_str(tokenizer.to_str())
    plain.encode_special_tokens = True
    expected = [plain.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert expected[3] == [7, 0, 8, 9], "a text that spells a special token is text"
    values = [{"text": text, "id": f"d{n}"} for n, text in enumerate(TEXTS)]
    jsonl(tmp_path / "in" / "a.jsonl", values)
    (tmp_path / "in" / "b.jsonl.gz").write_bytes(
        gzip.compress((tmp_path / "in" / "a.jsonl").read_bytes())
    )
    (tmp_path / "in" / "c.json").write_text(json.dumps(values))
    pq.write_table(
        pa.Table.from_pylist(values).append_column("x", [list(range(6))]),
        tmp_path / "in" / "d.parquet",
    )
    (tmp_path / "in" / "e.txt").write_text("w1 w2\n\nw3")
    (tmp_path / "in" / "notes.md").touch()
    manifest = tokenize([str(tmp_path / "in")], tmp_path / "out", rules_of(tokenizer), Running())
    assert manifest["not_read"] == {"notes.md": 0}
    assert documents(tmp_path / "out") == [*expected * 4, [2, 3, 4]]
    assert manifest["empty_documents"] == 4 and manifest["tokenizer"] == backend_hash(tokenizer)
    table = document_table(corpus := open_shards(tmp_path / "out"), corpus.shards[0])
    assert table["id"].to_pylist() == [f"d{n}" for n in range(6)] * 4 + ["e.txt"]
    names = ["a.jsonl", "b.jsonl.gz", "c.json", "d.parquet"]
    assert table["source"].to_pylist() == [name for name in names for _ in TEXTS] + ["e.txt"]
    assert table["line"].to_pylist() == [*[1, 2, 3, 4, 5, 6] * 4, 1]
    assert manifest["sources"]["a.jsonl"] == sha256_file(tmp_path / "in" / "a.jsonl")
    lined = rules_of(tokenizer, txt="lines")
    tokenize([str(tmp_path / "in" / "e.txt")], tmp_path / "lines", lined, Running())
    assert documents(tmp_path / "lines") == [[2, 3], [4]], "a blank line is nothing"


def test_a_saved_data_set_is_a_source(tmp_path: Path) -> None:
    import datasets

    datasets.Dataset.from_list([{"text": text, "id": 7} for text in TEXTS]).save_to_disk(
        str(tmp_path / "set")
    )
    manifest = tokenize(
        [str(tmp_path / "set")], tmp_path / "out", rules_of(words_tokenizer()), Running()
    )
    assert manifest["documents"] == 6 and manifest["source_names"] == ["set"]
    table = document_table(corpus := open_shards(tmp_path / "out"), corpus.shards[0])
    assert table["id"].to_pylist() == ["7"] * 6


def test_processes_change_no_byte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [{"text": " ".join(WORDS[n % 40 : n % 40 + n % 9])} for n in range(1001)]
    source = [str(jsonl(tmp_path / "a.jsonl", values))]
    rules = rules_of(words_tokenizer(), shard_tokens=700)
    one = tokenize(source, tmp_path / "one", rules, Running())
    monkeypatch.setattr(compressed, "CHUNK", 3000)
    two = tokenize(source, tmp_path / "two", rules, Running(jobs=2))
    assert one == two and content(tmp_path / "one") == content(tmp_path / "two")
    assert one["documents"] == 1001, "the remainder of a batch is not lost"


GOOD = [{"ids": [1]}] * 3


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"ids": [1', "broken JSON"),
        (b'{"ids": [1], "id": "\xff"}', "invalid UTF-8 (byte 0xff at 21)"),
        (b"7", "not a JSON object but a int"),
        (b"[1]", "not a JSON object but a list"),
        (b'{"id": "x"}', "no column ids (it has: id)"),
        (b'{"ids": "1 2"}', "column ids holds no list of whole numbers"),
        (b'{"ids": [1.5]}', "column ids holds no list of whole numbers"),
        (b'{"ids": [true]}', "column ids holds no list of whole numbers"),
        (b'{"ids": [100]}', "id 100 is outside the vocabulary of 100"),
        (b'{"ids": [5, -1]}', "id -1 is outside the vocabulary of 100"),
        (b'{"ids": [1], "id": ["a"]}', "column id holds list, not text"),
    ],
)
def test_a_bad_row_is_an_error_or_put_aside(tmp_path: Path, line: bytes, reason: str) -> None:
    good = b'{"ids": [1]}\n'
    path = tmp_path / "a.jsonl"
    path.write_bytes(good * 3 + line + b"\n\r\n" + good + line)
    for allowed, number in ((0, 4), (1, 7)):
        with pytest.raises(DataError, match="cannot be used") as caught:
            tokenize([str(path)], tmp_path / "out", rules_of(), Running(max_bad=allowed))
        assert f"a.jsonl, line {number}: " in caught.value.values and reason in caught.value.values
        assert not (tmp_path / "out").exists() and len(str(caught.value).splitlines()) == 3
    manifest = tokenize([str(path)], tmp_path / "out", rules_of(), Running(max_bad=2))
    assert manifest["documents"] == 4 and [row["line"] for row in manifest["bad_lines"]] == [4, 7]
    table = read_table(tmp_path / "out" / "bad_lines.parquet")
    assert table["content"].to_pylist() == [line, line] and reason in table["reason"][0].as_py()


def test_the_width_follows_the_vocabulary(tmp_path: Path) -> None:
    source = [str(jsonl(tmp_path / "a.jsonl", [{"ids": [70_000, 2**32 - 1, 0]}, {"ids": None}]))]
    tokenize(source, tmp_path / "out", rules_of(vocab_size=2**32), Running())
    assert documents(tmp_path / "out") == [[70_000, 2**32 - 1, 0], []]
    assert open_shards(tmp_path / "out").shards[0].tokens_T.dtype == np.uint32
    with pytest.raises(DataError, match="id 4294967295 is outside"):
        tokenize(source, tmp_path / "b", rules_of(vocab_size=2**32 - 1), Running())
    with pytest.raises(ConfigError, match="No shard holds"):
        tokenize(source, tmp_path / "b", rules_of(vocab_size=2**32 + 1), Running())


def test_no_document_and_bad_numbers_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"\n\r\n \n")
    source, out = [str(tmp_path / "a.jsonl")], tmp_path / "out"
    with pytest.raises(DataError, match="hold no document"):
        tokenize(source, out, rules_of(), Running())
    for rules, running in (
        (rules_of(shard_tokens=0), Running()),
        (rules_of(), Running(max_bad=-1)),
        (rules_of(), Running(jobs=0)),
    ):
        with pytest.raises(ConfigError, match="too small"):
            tokenize(source, out, rules, running)
    assert not out.exists()


def test_a_text_that_the_tokenizer_refuses_is_named(tmp_path: Path) -> None:
    strict = Tokenizer(models.WordLevel({"w1": 0}, unk_token="?"))
    source = [str(jsonl(tmp_path / "a.jsonl", [{"text": "w1"}, {"text": "w2"}]))]
    with pytest.raises(DataError, match=r"cannot encode a text\.\n.*a\.jsonl, line 1 to 2: "):
        tokenize(source, tmp_path / "out", rules_of(strict), Running())


def test_sources_have_names_of_their_own(tmp_path: Path) -> None:
    for name in ("x", "y"):
        jsonl(tmp_path / name / "a.jsonl", GOOD)
    both = [str(tmp_path / "y"), str(tmp_path / "x" / "a.jsonl")]
    manifest = tokenize(both, tmp_path / "out", rules_of(), Running())
    assert manifest["source_names"] == [f"{tmp_path}/y/a.jsonl", f"{tmp_path}/x/a.jsonl"]
    assert manifest["documents"] == 6
    with pytest.raises(ConfigError, match="the order of the sources"):
        tokenize(both[::-1], tmp_path / "out", rules_of(), Running())
    for twice in ([both[0], f"{both[0]}/./a.jsonl"], [both[1], both[1]]):
        with pytest.raises(DataError, match="given twice"):
            tokenize(twice, tmp_path / "out2", rules_of(), Running())


def test_going_on_needs_the_same_settings_and_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = [str(jsonl(tmp_path / "a.jsonl", GOOD)), str(jsonl(tmp_path / "b.jsonl", GOOD))]
    out, rules = tmp_path / "out", rules_of(shard_tokens=2)
    with monkeypatch.context() as patch:
        stopped_at(patch, 8)
        with pytest.raises(KeyboardInterrupt):
            tokenize(source, out, rules, Running())
    with pytest.raises(DataError, match="no finished token shards"):
        open_shards(out)
    before = content(out)
    for asked, changed, said in (
        (source, rules_of(shard_tokens=3), "shard_tokens: 2 -> 3"),
        (source, rules_of(shard_tokens=2, vocab_size=101), "vocab_size: 100 -> 101"),
        (source, replace(rules, tokenizer="f" * 64), "tokenizer: none -> ffffffffffff"),
        (source[:1], rules, "source b.jsonl: .* -> absent"),
        (source, rules_of(shard_tokens=2, id_column="name"), "id_column: id -> name"),
    ):
        with pytest.raises(ConfigError, match=said) as caught:
            tokenize(asked, out, changed, Running())
        assert "begun with other settings or sources" in caught.value.what
        assert content(out) == before
    jsonl(tmp_path / "b.jsonl", [*GOOD, {"ids": [2]}])
    with pytest.raises(ConfigError, match=r"source b\.jsonl: \w{12} -> \w{12}"):
        tokenize(source, out, rules, Running())
    jsonl(tmp_path / "b.jsonl", GOOD)
    tokenize(source, out, rules, Running(max_bad=5, jobs=1))
    assert len(documents(out)) == 6
    with pytest.raises(ConfigError, match="shard_tokens: 2 -> 3"):
        tokenize(source, out, rules_of(shard_tokens=3), Running())


def test_a_finished_shard_that_was_cut_since_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = [str(jsonl(tmp_path / "a.jsonl", [{"ids": [n]} for n in range(9)]))]
    rules = rules_of(shard_tokens=2)
    tokenize(source, tmp_path / "whole", rules, Running())
    with monkeypatch.context() as patch:
        stopped_at(patch, 14)
        with pytest.raises(KeyboardInterrupt):
            tokenize(source, tmp_path / "out", rules, Running())
    shard = tmp_path / "out" / "shard-00001.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    tokenize(source, tmp_path / "out", rules, Running())
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_a_finished_corpus_is_not_made_again_but_looked_at(tmp_path: Path) -> None:
    source, out = [str(jsonl(tmp_path / "a.jsonl", GOOD))], tmp_path / "out"
    assert tokenize(source, out, rules_of(), Running()) == tokenize(
        source, out, rules_of(), Running()
    )
    shard = out / "shard-00000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DataError, match="The shard is damaged"):
        tokenize(source, out, rules_of(), Running())
    make_shards(tmp_path / "other", [[1]], vocab_size=100, shard_documents=1)
    with pytest.raises(ConfigError, match=r"source a\.jsonl: absent -> "):
        tokenize(source, tmp_path / "other", rules_of(), Running())


def test_a_full_disk_interrupts_and_the_same_call_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = [str(jsonl(tmp_path / "a.jsonl", GOOD))]
    real, calls = files.sync, [0]

    def full(path: Path) -> None:
        calls[0] += 1
        if calls[0] == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(path)

    monkeypatch.setattr(files, "sync", full)
    with pytest.raises(Interrupted, match="disk is full"):
        tokenize(source, tmp_path / "out", rules_of(shard_tokens=1), Running())
    assert not list((tmp_path / "out").rglob(".tmp-*"))
    tokenize(source, tmp_path / "out", rules_of(shard_tokens=1), Running())
    assert (
        documents(tmp_path / "out") == [[1]] * 3 and not (tmp_path / "out" / "unfinished").exists()
    )


def test_places_that_cannot_take_a_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = jsonl(tmp_path / "in" / "a.jsonl", GOOD)
    (tmp_path / "file").touch()
    for out, said in (
        (tmp_path / "in" / "out", "OUT lies inside a source"),
        (tmp_path / "in", "OUT lies inside a source"),
        (source, "OUT is a file"),
        (tmp_path / "file" / "below", "OUT cannot be written"),
    ):
        with pytest.raises((DataError, ConfigError), match=said) as caught:
            tokenize([str(tmp_path / "in")], out, rules_of(), Running())
        assert len(str(caught.value).splitlines()) == 3
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").touch()
    with pytest.raises(DataError, match=r"other files\.\n.*mine\.txt"):
        tokenize([str(source)], tmp_path / "full", rules_of(), Running())

    def read_only(path: Path, kind: int = 0) -> None:
        raise OSError(errno.EROFS, "Read-only file system", str(path))

    monkeypatch.setattr(module, "write_json", read_only)
    with pytest.raises(DataError, match="OUT cannot be written") as caught:
        tokenize([str(source)], tmp_path / "new", rules_of(), Running())
    assert "Read-only file system" in caught.value.values


def test_a_cut_off_source_is_an_error_with_its_line(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", [{"ids": [n % 100]} for n in range(999)])
    packed = gzip.compress((tmp_path / "a.jsonl").read_bytes())
    (tmp_path / "b.jsonl.gz").write_bytes(packed[:-9])
    with pytest.raises(DataError, match=r"b\.jsonl\.gz, line \d+: it ends in the middle"):
        tokenize([str(tmp_path / "b.jsonl.gz")], tmp_path / "out", rules_of(), Running(max_bad=9))
    assert not (tmp_path / "out").exists()


def test_facts_say_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "CHUNK", 100)
    monkeypatch.setattr(rows, "TABLE_ROWS", 2)
    source = [str(jsonl(tmp_path / "a.jsonl", GOOD * 30)), str(jsonl(tmp_path / "b.jsonl", GOOD))]
    said: list[dict[str, object]] = []
    running = Running(tell=lambda facts: said.append(dict(facts)))
    tokenize(source, tmp_path / "out", rules_of(), running)
    shares = [facts["share"] for facts in said]
    assert shares == sorted(shares) and shares[-1] == 1.0 and len(shares) > 5  # type: ignore[type-var]
    assert said[-1]["done"] == 93 and said[-1]["eta_s"] == 0.0 and "tokens_per_s" in said[0]
    assert read_json(tmp_path / "out" / "manifest.json")["tokens"] == 93
