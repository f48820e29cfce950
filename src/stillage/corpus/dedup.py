"""Remove duplicates from token shards, and record what was removed and why.

The folder that is written holds token shards again (one of what is kept for each shard of before),
`removed.parquet`, and, where a tokenizer is given, the texts. Each rule is judged on the corpus as
it was; what any of them removes goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.cuts import KeptDocument, Rest, Spans, covered_tokens, read_spans, shard_pieces
from stillage.corpus.dedup_rules import Keep, Rule, check_rules, rule_spans
from stillage.corpus.kept_texts import (
    TEXTS,
    Texts,
    check_texts,
    decoded,
    from_sources,
    write_text_lines,
)
from stillage.corpus.pace import Tell, paced, unseen
from stillage.corpus.shards import (
    FORMAT,
    MANIFEST,
    Shard,
    ShardSet,
    document_table,
    open_shards,
    shard_about,
)
from stillage.corpus.token_file import open_tokens, write_tokens
from stillage.errors import ConfigError, DataError
from stillage.run.folder import (
    read_json,
    read_table,
    remove,
    sha256_file,
    write_json,
    write_table,
)
from stillage.run.lock import locked
from stillage.run.progress import Progress
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

SETTINGS = "dedup.json"
REMOVED = "removed.parquet"
PARTS = "parts"  # what each rule removes; gone when all is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What is removed from a corpus, and how what is left is written."""

    rules: tuple[Rule, ...]
    keep: Keep = "first"
    rest: Rest = "split"
    texts: Texts | None = None  # None: shards alone

    def settings(self, corpus: ShardSet) -> dict[str, Any]:
        """What decides the result, for the file that names it."""
        return {
            "rules": [rule.text for rule in self.rules],
            "keep": self.keep,
            "rest": self.rest,
            "tokenizer": "" if self.texts is None else self.texts.digest,
            "texts": "" if self.texts is None else self.texts.origin,
            "shards": [shard.sha256 for shard in corpus.shards],
        }


def deduplicate(
    corpus: ShardSet, choice: Choice, out: Path, progress: Progress = unseen
) -> dict[str, Any]:
    """Write what is kept of a corpus, and what went; the counts, by name.

    Whatever is finished in `out` is used again. ConfigError where `out` belongs to something else,
    or has other settings; DataError where the tokenizer or the sources are not the corpus's, or a
    rule needs an index. Nothing is written then.
    """
    settings = choice.settings(corpus)
    if choice.texts is not None:
        check_texts(choice.texts, corpus)
    check_dedup_out(corpus, out, settings)
    if not (out / MANIFEST).is_file():
        check_rules(corpus, choice.rules)
    with locked(out):
        if (out / MANIFEST).is_file():
            return finished_counts(out)
        for left in (*out.glob(".tmp-*"), *(out / PARTS).glob(".tmp-*")):
            remove(left)  # of a write that was killed
        write_json(out / SETTINGS, settings)
        tables = [
            made_once(
                out / PARTS / f"rule-{at}.parquet", _finder(corpus, rule, choice.keep, progress)
            )
            for at, rule in enumerate(choice.rules)
        ]
        spans = read_spans(*tables)
        write_table(out / REMOVED, with_ids(corpus, tables))
        tell = paced(progress, "kept", "{} tokens written", corpus.tokens)
        entries = write_shards(corpus, spans, choice, out, tell)
        counts = count(corpus, choice, tables, entries)
        write_kept_texts(corpus, spans, choice, out, entries, progress)
        manifest = {
            "format": FORMAT,
            "vocab_size": corpus.vocab_size,
            "tokenizer": corpus.tokenizer,
            "shards": entries,
            "dedup": counts,
        }
        write_json(out / MANIFEST, manifest)
        remove(out / PARTS)
    return counts


def finished_counts(out: Path) -> dict[str, Any]:
    """Read the counts of a finished deduplication; DataError: files are not whole."""
    counts = open_shards(out).manifest.get("dedup")
    if not isinstance(counts, dict):
        fix = "Remove the folder, and run the same command again."
        raise DataError("The manifest of the shards is damaged.", f"{out}: no counts", fix)
    return counts


def check_dedup_out(corpus: ShardSet, out: Path, settings: Mapping[str, Any]) -> None:
    """ConfigError where a folder is not free for this deduplication, or is another's."""
    fix = "Name another folder with --out."
    if out.resolve() == corpus.folder.resolve():
        raise ConfigError("The corpus would be written over itself.", f"out: {out}", fix)
    if out.exists() and not out.is_dir():
        raise ConfigError("The place for the kept corpus is a file.", f"out: {out}", fix)
    path = out / SETTINGS
    if not path.is_file():
        if out.is_dir() and any(not entry.name.startswith(".") for entry in out.iterdir()):
            raise ConfigError("The folder holds something else.", f"out: {out}", fix)
        return
    try:
        before = dict(read_json(path))
    except (TypeError, ValueError) as error:
        what = "What the folder says of its settings is damaged."
        raise ConfigError(what, f"{path}: {error}", fix) from error
    differ = [
        f"{name}: {_short(before.get(name))} -> {_short(value)}"
        for name, value in settings.items()
        if before.get(name) != value
    ]
    if differ:
        what = "The folder was begun with other settings."
        raise ConfigError(what, f"{out}: {'; '.join(differ)}", f"Give the same settings. {fix}")


def with_ids(corpus: ShardSet, tables: Sequence[pa.Table]) -> pa.Table:
    """Join the removed spans of all rules, and name both documents of each by id.

    Sorted by document and start.
    """
    import pyarrow as pa

    order = [("document", "ascending"), ("start", "ascending"), ("rule", "ascending")]
    table = pa.concat_tables(tables).sort_by(order)
    for column, name in (("document", "id"), ("copy_document", "copy_id")):
        numbers = table.column(column).to_numpy()
        ids = np.full(len(numbers), None, dtype=object)
        for shard in corpus.shards:
            at = np.flatnonzero(
                (numbers >= shard.first_document)
                & (numbers < shard.first_document + shard.documents)
            )
            if len(at):
                known = document_table(corpus, shard).column("id")
                ids[at] = known.take(pa.array(numbers[at] - shard.first_document)).to_pylist()
        table = table.append_column(name, pa.array(ids, pa.string()))
    return table


def write_kept_shard(
    corpus: ShardSet, number: int, first: int, spans: Spans, choice: Choice, out: Path
) -> dict[str, Any]:
    """Write what is kept of one shard, unless it is there; its entry of the manifest.

    first: the number of its first kept document.
    """
    shard = corpus.shards[number]
    path, beside = out / f"{shard.name}.safetensors", out / f"{shard.name}.documents.parquet"
    pieces: list[KeptDocument] = []

    def kept() -> Iterator[Array]:
        for piece, ids in shard_pieces(shard, spans, choice.rest):
            pieces.append(piece)
            yield ids

    if not beside.is_file():  # written second: both are there
        about = shard_about(corpus.vocab_size, corpus.tokenizer, first)
        write_tokens(path, kept(), vocab_size=corpus.vocab_size, about=about)
        write_table(beside, piece_table(document_table(corpus, shard), pieces, shard, first))
    file = open_tokens(path, "The shard")
    return {
        "name": shard.name,
        "documents": file.documents,
        "tokens": len(file.tokens_T),
        "sha256": sha256_file(path),
    }


def piece_table(
    before: pa.Table, pieces: Sequence[KeptDocument], shard: Shard, first: int
) -> pa.Table:
    """List the documents of a kept shard, and where in the old corpus they stood.

    Columns: document, id, source, line, of_document, start, end.
    A whole document keeps its id; a rest is ID:START-END. of_document: its number in the corpus
    before; start, end: tokens from its first (of a joined one: of all its runs together).
    """
    import pyarrow as pa

    numbers = np.array([piece.document for piece in pieces], dtype=np.int64)
    starts = [piece.runs[0][0] for piece in pieces]
    ends = [piece.runs[-1][1] for piece in pieces]
    named = before.select(["id", "source", "line"]).take(pa.array(numbers - shard.first_document))
    ids = [
        name if piece.is_whole else f"{name}:{start}-{end}"
        for name, piece, start, end in zip(
            named.column("id").to_pylist(), pieces, starts, ends, strict=True
        )
    ]
    return pa.table(
        {
            "document": pa.array(np.arange(first, first + len(pieces)), pa.int64()),
            "id": pa.array(ids, pa.string()),
            "source": named.column("source"),
            "line": named.column("line"),
            "of_document": pa.array(numbers, pa.int64()),
            "start": pa.array(starts, pa.int64()),
            "end": pa.array(ends, pa.int64()),
        }
    )


def write_shards(
    corpus: ShardSet, spans: Spans, choice: Choice, out: Path, tell: Tell
) -> list[dict[str, Any]]:
    """Write what is kept of every shard; their entries of the manifest."""
    entries: list[dict[str, Any]] = []
    for number, shard in enumerate(corpus.shards):
        first = sum(entry["documents"] for entry in entries)
        entries.append(write_kept_shard(corpus, number, first, spans, choice, out))
        tell(len(shard.tokens_T))
    return entries


def write_kept_texts(
    corpus: ShardSet,
    spans: Spans,
    choice: Choice,
    out: Path,
    entries: list[dict[str, Any]],
    progress: Progress,
) -> None:
    """Write the texts of what is kept, if they are asked for."""
    if choice.texts is None:
        return
    tell = paced(progress, "texts", "{} tokens", sum(entry["tokens"] for entry in entries))
    if choice.texts.sources:
        records = from_sources(choice.texts, corpus, spans, choice.rest, out)
    else:
        records = decoded(choice.texts, out, entries)
    write_text_lines(out / TEXTS, records, tell)


def count(
    corpus: ShardSet,
    choice: Choice,
    tables: Sequence[pa.Table],
    entries: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Count documents and tokens before, removed, kept, and by each rule alone."""
    spans = read_spans(*tables)
    kept = sum(entry["tokens"] for entry in entries)
    removed = covered_tokens(spans)
    assert kept + removed == corpus.tokens
    by_rule = {
        rule.text: {
            "spans": len(table),
            "documents": len(np.unique(table.column("document").to_numpy())),
            "tokens": covered_tokens(read_spans(table)),
        }
        for rule, table in zip(choice.rules, tables, strict=True)
    }
    return {
        "keep": choice.keep,
        "rest": choice.rest,
        "documents": corpus.documents,
        "tokens": corpus.tokens,
        "removed_tokens": removed,
        "changed_documents": len(np.unique(spans.documents_S)),
        "kept_documents": sum(entry["documents"] for entry in entries),
        "kept_tokens": kept,
        "by_rule": by_rule,
        "copies_gone_too": 0 if choice.keep == "none" else copies_gone(tables),
    }


def copies_gone(tables: Sequence[pa.Table]) -> int:
    """How many removed spans name a copy of which another rule removed tokens.

    Each rule keeps one copy, but what one keeps another may remove: all are judged on the corpus
    as it was.
    """
    gone = 0
    for at, table in enumerate(tables):
        others = read_spans(*tables[:at], *tables[at + 1 :])
        names = ("copy_document", "copy_start", "start", "end")
        columns = (table.column(name).to_pylist() for name in names)
        for document, copy, start, end in zip(*columns, strict=True):
            starts, ends = others.of(document)
            gone += bool(((starts < copy + end - start) & (ends > copy)).any())
    return gone


def _finder(corpus: ShardSet, rule: Rule, keep: Keep, progress: Progress) -> Callable[[], pa.Table]:
    """What finds the spans of one rule."""
    tell = paced(progress, rule.text, "{} tokens compared", corpus.tokens)
    return lambda: rule_spans(corpus, rule, keep, tell)


def made_once(path: Path, make: Callable[[], pa.Table]) -> pa.Table:
    """A table that was made before, or is made now and written."""
    if not path.is_file():
        write_table(path, make())
    return read_table(path)


def _short(value: object) -> str:
    """A setting in few words; hashes of many shards are not all shown."""
    if isinstance(value, list) and value and len(str(value[0])) == 64:
        return f"{len(value)} shards ({str(value[0])[:8]}...)"
    text = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text[:12] if len(text) == 64 else text or "none"
