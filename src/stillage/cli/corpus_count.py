"""`stillage corpus count SHARDS`: how often sequences of tokens or texts occur, and where."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from stillage.corpus.shards import ShardSet

NAMES = ("SHARDS",)
SHOWN = 40  # tokens of a sequence on the screen


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `count SHARDS` takes besides."""

    tokens: tuple[str, ...] = ()
    """Sequences of ids, each with commas: 1,2,3 4,5."""
    text: tuple[str, ...] = ()
    """Texts, each in quotes; a space before the first word counts. Needs --tokenizer."""
    tokenizer: str = ""
    """The tokenizer of the corpus: a tokenizer.json, a model's folder or hub id. Shows the pieces of --tokens too."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    positions: int = 0
    """How many places to list for each sequence, from the beginning of the corpus."""
    json: bool = False
    """Print one line of JSON for each sequence instead."""


def run(paths: list[str], chosen: Settings) -> int:
    """Count the sequences, and print what they are."""
    from stillage.corpus.counts import count_sequences, find_sequence
    from stillage.corpus.shards import open_shards

    if not chosen.tokens and not chosen.text:
        fix = 'Give --tokens 1,2,3 or --text "a text" --tokenizer F.'
        raise ConfigError("What is to be counted?", "neither --tokens nor --text was given", fix)
    if chosen.text and not chosen.tokenizer:
        values, fix = "--text without --tokenizer", "Give the tokenizer of the corpus."
        raise ConfigError("A text is counted by its tokens.", values, fix)
    if chosen.positions < 0:
        values = f"--positions {chosen.positions}"
        raise ConfigError("A number of places is not negative.", values, "Give 0 or more.")
    corpus = open_shards(Path(paths[0]))
    tokenizer = None
    if chosen.tokenizer:
        tokenizer = own_tokenizer(corpus, chosen.tokenizer, chosen.revision)
    queries = [{"tokens": read_ids(text)} for text in chosen.tokens]
    if tokenizer is not None:
        queries += [{"text": text, "tokens": ids_of(tokenizer, text)} for text in chosen.text]
    counts = count_sequences(corpus, [query["tokens"] for query in queries])
    for query, count in zip(queries, counts.tolist(), strict=True):
        facts: dict[str, Any] = query | {"count": count}
        if tokenizer is not None:
            facts["pieces"] = pieces_of(tokenizer, query["tokens"])
        if not count:
            facts["why"] = why_not(corpus, query["tokens"])
        if chosen.positions:
            found = find_sequence(corpus, query["tokens"], chosen.positions)
            names = name_documents(corpus, found["document"].to_pylist())
            pairs = zip(found.to_pylist(), names, strict=True)
            facts["positions"] = [place | name for place, name in pairs]
        print(json.dumps(facts, ensure_ascii=False) if chosen.json else in_words(facts))
    return 0


def read_ids(text: str) -> list[int]:
    """Read ids with commas between. ConfigError for what is no number."""
    try:
        return [int(word) for word in text.split(",")]
    except ValueError as error:
        values, fix = f"given: {text!r}", "Write whole numbers with commas between: 1,2,3."
        raise ConfigError("A sequence of ids cannot be read.", values, fix) from error


def own_tokenizer(corpus: ShardSet, place: str, revision: str) -> Tokenizer:
    """Load the tokenizer. DataError where the corpus was made with another."""
    from stillage.cli.corpus_tokenize import backend_tokenizer
    from stillage.corpus.tokenizers import backend_hash

    tokenizer = backend_tokenizer(place, revision)
    given = backend_hash(tokenizer)
    if corpus.tokenizer and given != corpus.tokenizer:
        values = f"{place}: {given[:12]}; {corpus.folder}: {corpus.tokenizer[:12]}"
        fix = "Give the tokenizer that the corpus was tokenised with."
        raise DataError("The corpus was made with another tokenizer.", values, fix)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    """The ids of a text, without BOS and the like. ConfigError for a text of none."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    if not ids:
        values, fix = f"given: {text!r}", "Give a text of one token or more."
        raise ConfigError("The text has no tokens.", values, fix)
    return list(ids)


def pieces_of(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    """What each id stands for, as text."""
    known = [0 <= one < 1 << 32 and tokenizer.id_to_token(one) is not None for one in ids]
    return [
        tokenizer.decode([one], skip_special_tokens=False) if is_known else "(unknown)"
        for one, is_known in zip(ids, known, strict=True)
    ]


def why_not(corpus: ShardSet, ids: list[int]) -> str:
    """Say why a sequence does not occur, where that can be told."""
    unknown = [one for one in ids if not 0 <= one < corpus.vocab_size]
    if unknown:
        return f"id {unknown[0]} is outside the vocabulary of {corpus.vocab_size}"
    lengths = [np.diff(shard.offsets_D).max(initial=0) for shard in corpus.shards]
    longest = max(map(int, lengths), default=0)
    if len(ids) > longest:
        return f"it has {len(ids)} tokens, the longest document has {longest}"
    return "no document holds these tokens in this order"


def name_documents(corpus: ShardSet, documents: Sequence[int]) -> list[dict[str, Any]]:
    """The id, source and line of documents; those of a shard stand together."""
    from stillage.corpus.shards import document_table

    named = []
    for shard in corpus.shards:
        inside = [one - shard.first_document for one in documents]
        rows = [one for one in inside if 0 <= one < shard.documents]
        named += document_table(corpus, shard).take(rows).to_pylist() if rows else []
    return named


def in_words(facts: Mapping[str, Any]) -> str:
    """Say one sequence's count, its tokens, and its places, on a line each."""
    ids = facts["tokens"]
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    name = ",".join(map(str, ids[:SHOWN])) + more
    name = json.dumps(facts["text"], ensure_ascii=False) if "text" in facts else name
    times = "1 time" if facts["count"] == 1 else f"{facts['count']:,} times"
    lines = [f"{name}: {times}"]
    if "pieces" in facts:
        pairs = zip(facts["pieces"][:SHOWN], ids, strict=False)
        told = " ".join(f"{json.dumps(piece, ensure_ascii=False)}={one}" for piece, one in pairs)
        lines.append(f"  {len(ids)} token{'s' * (len(ids) != 1)}: {told}{more}")
    if "why" in facts:
        lines.append(f"  {facts['why']}")
    lines += [
        f"  document {place['document']}, token {place['start']} "
        f"({place['id']}; {place['source']}, line {place['line']})"
        for place in facts.get("positions", [])
    ]
    return "\n".join(lines)
