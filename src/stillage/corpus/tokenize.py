"""Sources to token shards: parallel, restartable, always the same bytes.

Documents are numbered through all shards in the order of the sources. A shard takes documents until
the next one would make it longer than shard_tokens; one longer document is a shard by itself.
Nothing else decides the borders: neither processes nor pieces.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from errno import EACCES, ENOTDIR, EPERM, EROFS
from pathlib import Path
from typing import Any

from stillage.corpus.document_stream import (
    Contents,
    DocumentStream,
    Running,
    bad_rows,
    document_rows,
    shard_batches,
)
from stillage.corpus.encode import Encoding
from stillage.corpus.rows import TxtMode
from stillage.corpus.shards import (
    FORMAT,
    MANIFEST,
    open_shards,
    read_shards_manifest,
    shard_about,
)
from stillage.corpus.sources import Source, folder_and_part, open_source
from stillage.corpus.token_file import token_type, write_batches
from stillage.corpus.unfinished import (
    PLAN,
    UNFINISHED,
    Plan,
    ShardDone,
    check_out,
    check_same,
    finished_shards,
    give_up,
    remove_leftovers,
    shard_name,
    write_done,
)
from stillage.errors import ConfigError, DataError, Interrupted, UserError
from stillage.run.folder import read_json, read_table, remove, sha256_file, write_json, write_table
from stillage.run.lock import locked

BAD_LINES = "bad_lines.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizeRules:
    """What decides the shards of given sources."""

    encoding: Encoding
    tokenizer: str  # its rules_hash; "" where the ids came without one
    shard_tokens: int = 100_000_000
    txt: TxtMode = "document"


def tokenize(
    sources: Sequence[str], out: Path, rules: TokenizeRules, running: Running
) -> dict[str, Any]:
    """Write the shards of some sources, and return their manifest.

    Goes on where the same call was stopped. Memory: a shard's documents' names, and some pieces.
    ConfigError for other settings than those that OUT was begun with, DataError for sources without
    a document or more than max_bad bad rows, Interrupted (Stopped) once a signal has come.
    """
    token_type(rules.encoding.vocab_size)
    check_running(rules, running)
    check_out(out, [folder_and_part(source)[0] for source in sources])
    with writable(out):
        opened = open_sources(sources, rules)
        plan = plan_of(opened, rules)
        if (out / MANIFEST).is_file():
            check_same(out, read_shards_manifest(out), plan)
            open_shards(out)  # refuses what was removed or cut since
            remove(out / UNFINISHED)
            return read_shards_manifest(out)
        with locked(out / UNFINISHED):
            try:
                return make_missing(opened, out, plan, rules, running)
            except Interrupted:
                raise
            except UserError:
                give_up(out)
                raise


def check_running(rules: TokenizeRules, running: Running) -> None:
    """Refuse numbers without meaning."""
    least = {
        "shard_tokens": (rules.shard_tokens, 1),
        "max_bad": (running.max_bad, 0),
        "jobs": (running.jobs, 1),
    }
    for name, (value, lowest) in least.items():
        if value < lowest:
            what = f"{name} is too small."
            raise ConfigError(what, f"{name}: {value}", f"Give {lowest} or more.")


@contextmanager
def writable(out: Path) -> Iterator[None]:
    """Turn what the system says of a place that cannot be written into three lines."""
    try:
        yield
    except OSError as error:
        if error.errno not in (EACCES, EPERM, EROFS, ENOTDIR):
            raise
        fix = "Check its permissions, or name another folder."
        values = f"{error.filename or out}: {error.strerror}"
        raise DataError("OUT cannot be written.", values, fix) from error


def open_sources(sources: Sequence[str], rules: TokenizeRules) -> list[Source]:
    """Open all sources in their order, under names that are theirs alone."""
    columns = (rules.encoding.column, rules.encoding.id_column)
    pairs = [
        (source, part)
        for source in sources
        for part in open_source(source, txt=rules.txt, stream=True, columns=columns)
    ]
    full = [full_name(source, part.name) for source, part in pairs]
    twice = [name for name, count in Counter(full).items() if count > 1]
    if twice:
        fix = "Name each once: its documents would be in the corpus twice."
        raise DataError("A source is given twice.", f"twice: {', '.join(twice[:5])}", fix)
    parts = [part for _, part in pairs]
    if len({part.name for part in parts}) < len(parts):
        parts = [replace(part, name=name) for part, name in zip(parts, full, strict=True)]
    return parts


def full_name(source: str, name: str) -> str:
    """A part of a source with the source as it was given."""
    path = Path(source)
    return os.path.normpath(path / name if path.is_dir() else path)


def plan_of(sources: Sequence[Source], rules: TokenizeRules) -> Plan:
    """What decides the bytes of the corpus."""
    return {
        "format": FORMAT,
        "tokenizer": rules.tokenizer,
        "vocab_size": rules.encoding.vocab_size,
        "settings": {
            "text" if rules.encoding.rules else "ids": rules.encoding.column,
            "id_column": rules.encoding.id_column,
            "shard_tokens": rules.shard_tokens,
            "txt": rules.txt,
        },
        "source_names": [source.name for source in sources],
        "sources": {source.name: source.sha256 for source in sources},
    }


def make_missing(
    sources: Sequence[Source], out: Path, plan: Plan, rules: TokenizeRules, running: Running
) -> dict[str, Any]:
    """Make the shards that are missing, and the manifest."""
    path = out / UNFINISHED / PLAN
    done = finished_shards(out)
    if done:
        check_same(out, read_json(path), plan)
    remove_leftovers(out)
    write_json(path, plan)
    stream = DocumentStream(sources, done, rules.encoding, running)
    with running.stop.deferred(), closing(stream):
        while stream.has_more():
            done.append(write_shard(out, done, stream, rules))
    if not done:
        values = f"sources: {', '.join(plan['source_names'][:5])}"
        raise DataError("The sources hold no document.", values, "Check what wrote them.")
    not_read = {name: rows for source in sources for name, rows in source.unread.items()}
    write_manifest(out, {**plan, "not_read": not_read}, done)
    remove(out / UNFINISHED)
    return read_shards_manifest(out)


def write_shard(
    out: Path, done: Sequence[ShardDone], stream: DocumentStream, rules: TokenizeRules
) -> ShardDone:
    """Write the next shard: tokens, where its documents came from, that it is whole."""
    name, first = shard_name(len(done)), sum(shard.documents for shard in done)
    vocab_size, contents = rules.encoding.vocab_size, Contents()
    about = shard_about(vocab_size, rules.tokenizer, first)
    path = out / f"{name}.safetensors"
    batches = shard_batches(stream, rules.shard_tokens, contents)
    documents, tokens = write_batches(path, batches, vocab_size=vocab_size, about=about)
    write_table(out / f"{name}.documents.parquet", document_rows(contents, first))
    write_table(out / UNFINISHED / f"{name}.bad.parquet", bad_rows(contents.bad))
    shard = ShardDone(
        name=name,
        documents=documents,
        tokens=tokens,
        empty=contents.empty,
        bad=len(contents.bad),
        sha256=sha256_file(path),
        after=stream.position,
    )
    write_done(out, shard)
    return shard


def write_manifest(out: Path, plan: Plan, done: Sequence[ShardDone]) -> None:
    """Write the bad rows of all shards, and what the corpus is: the end of the work."""
    import pyarrow as pa

    parts = [read_table(out / UNFINISHED / f"{shard.name}.bad.parquet") for shard in done]
    bad = pa.concat_tables(parts)
    write_table(out / BAD_LINES, bad)
    manifest: Mapping[str, Any] = {
        **plan,
        "documents": sum(shard.documents for shard in done),
        "tokens": sum(shard.tokens for shard in done),
        "empty_documents": sum(shard.empty for shard in done),
        "bad_lines": bad.select(["source", "line", "reason"]).to_pylist(),
        "shards": [
            {
                "name": shard.name,
                "documents": shard.documents,
                "tokens": shard.tokens,
                "sha256": shard.sha256,
            }
            for shard in done
        ],
    }
    write_json(out / MANIFEST, manifest)
