"""Texts of kept documents: decoded, or cut from the sources at the places of tokens."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import plain_removal
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from make_shards import make_shards
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from stillage.corpus import dedup_rules
from stillage.corpus.cuts import Rest
from stillage.corpus.dedup import Choice, deduplicate
from stillage.corpus.dedup_rules import read_rules
from stillage.corpus.kept_texts import Texts
from stillage.corpus.shards import MANIFEST, ShardSet, open_shards
from stillage.errors import DataError
from stillage.run.folder import read_json, read_table, sha256_file, write_json


def byte_tokenizer() -> Tokenizer:
    """A token a byte: a character of several bytes is several tokens."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE({letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore[reportAttributeAccessIssue]
    made.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    return made


@pytest.fixture(autouse=True)
def removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """N-grams by brute force, which needs no index."""
    monkeypatch.setattr(dedup_rules, "removal_spans", plain_removal.removal_spans)
    monkeypatch.setattr(dedup_rules, "open_index", lambda shard: None)


def tokenised(folder: Path, texts: Sequence[str], shard_documents: int = 2) -> ShardSet:
    """A source of texts, and its shards as `corpus tokenize` makes them; line 1 is blank."""
    source, tokenizer = folder / "made.jsonl", byte_tokenizer()
    lines = [json.dumps({"body": text}) + "\n" for text in texts]
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text("".join(lines))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    make_shards(folder / "in", ids, 256, shard_documents)
    for path in (folder / "in").glob("*.documents.parquet"):
        table = read_table(path)
        at = table.column_names.index("source")
        import pyarrow as pa
        import pyarrow.parquet as pq

        names = pa.array(["made.jsonl"] * len(table), pa.string())
        pq.write_table(table.set_column(at, "source", names), path)
    manifest = read_json(folder / "in" / MANIFEST)
    manifest |= {"settings": {"text": "body", "txt": "document"}}
    manifest |= {"sources": {"made.jsonl": sha256_file(source)}}
    write_json(folder / "in" / MANIFEST, manifest)
    return open_shards(folder / "in")


def kept(folder: Path, corpus: ShardSet, rule: str, rest: Rest, *sources: str) -> dict[str, str]:
    """Ids and texts that a deduplication writes."""
    texts = Texts(tokenizer=byte_tokenizer(), digest="x", sources=sources)
    deduplicate(corpus, Choice(rules=read_rules([rule]), rest=rest, texts=texts), folder)
    lines = (folder / "kept.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    rows = [json.loads(line) for line in lines]
    return {row["id"]: row["text"] for row in rows}


def test_whole_texts_stand_as_they_are_and_rests_are_cut(tmp_path: Path) -> None:
    corpus = tokenised(
        tmp_path, ["See the passage here.", "A  passage, too", "See the passage here."]
    )
    source = str(tmp_path / "made.jsonl")
    expected = {"d0": "See the passage here.", "d1:0-2": "A ", "d1:10-15": ", too"}
    assert kept(tmp_path / "cut", corpus, "ngram:8", "split", source) == expected
    assert kept(tmp_path / "decoded", corpus, "ngram:8", "split") == expected
    joined = kept(tmp_path / "joined", corpus, "ngram:8", "join", source)
    assert joined == {"d0": "See the passage here.", "d1:0-15": "A , too"}


def test_a_character_of_which_a_token_went_goes_whole(tmp_path: Path) -> None:
    """é and è share their first byte, so the cut lies within a character."""
    corpus = tokenised(tmp_path, ["abcdé", "xabcdèy"])
    source = str(tmp_path / "made.jsonl")
    split = kept(tmp_path / "cut", corpus, "ngram:5", "split", source)
    assert split == {"d0": "abcdé", "d1:0-1": "x", "d1:6-8": "y"}
    assert kept(tmp_path / "decoded", corpus, "ngram:5", "split")["d1:6-8"] == "\ufffdy"


@settings(deadline=None, max_examples=15)
@given(
    texts=st.lists(st.text("ab é\u2028日", max_size=12), min_size=1, max_size=5),
    rest=st.sampled_from(["split", "join"]),
)
def test_cut_texts_are_what_is_decoded_but_for_halved_characters(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], rest: Rest
) -> None:
    folder = tmp_path_factory.mktemp("c")
    corpus = tokenised(folder, texts)
    cut = kept(folder / "cut", corpus, "ngram:3", rest, str(folder / "made.jsonl"))
    decoded = kept(folder / "decoded", corpus, "ngram:3", rest)
    if rest == "split":  # joined halves may make another character
        assert cut == {name: text.strip("\ufffd") for name, text in decoded.items()}
    assert cut.keys() == decoded.keys()


def test_other_sources_and_tokenizers_are_refused(tmp_path: Path) -> None:
    corpus = tokenised(tmp_path, ["one text", "one text", "other one text"])
    (tmp_path / "b").mkdir()
    other = tmp_path / "b" / "made.jsonl"
    other.write_text('{"body": "one text"}\n')
    with pytest.raises(DataError, match="another content"):
        kept(tmp_path / "out", corpus, "exact", "split", str(other))
    other = tmp_path / "b" / "else.jsonl"
    other.write_text('{"body": "one text"}\n')
    with pytest.raises(DataError, match="not among the sources"):
        kept(tmp_path / "out", corpus, "exact", "split", str(other))
    plain = make_shards(tmp_path / "plain", [[1, 2]], 256, 9)
    with pytest.raises(DataError, match="names no sources"):
        kept(tmp_path / "out2", plain, "exact", "split", str(other))
    assert not (tmp_path / "out2").exists()
    large = make_shards(tmp_path / "large", [[1, 300]], 400, 9)
    with pytest.raises(DataError, match="largest id of the shards: 300; of the tokenizer: 255"):
        kept(tmp_path / "out3", large, "exact", "split")
