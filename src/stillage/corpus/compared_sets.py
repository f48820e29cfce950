"""The two kinds of sets that can be compared: sources of texts, and token shards."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillage.corpus.compared import Document
from stillage.corpus.rows import BadLine, Row, TxtMode, Unusable, utf8_text
from stillage.corpus.shards import FORMAT, MANIFEST, ShardSet, document_table, open_shards
from stillage.corpus.sources import TRAIN, HubPart, open_source
from stillage.corpus.token_file import open_tokens, write_tokens
from stillage.errors import DataError
from stillage.run.folder import atomic, read_json, sha256_file, write_json, write_table

SHOWN = 5
KEPT, KEPT_SHARDS = "kept.jsonl", "kept"
RowText = Callable[[Mapping[str, Any]], str]
"""The text of a row; raises Unusable where it has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSet:
    """A source of texts, how its rows are read, and the rows that were left out."""

    source: str
    text: RowText
    hub: HubPart = TRAIN
    txt: TxtMode = "document"
    max_bad: int = 0
    bad: list[BadLine] = field(default_factory=list)
    hashes: dict[str, str] = field(default_factory=dict)  # name of a part -> sha256

    def rows(self) -> Iterator[tuple[Row, str]]:
        """Read rows with their texts. DataError: bad lines, or a changed source."""
        parts = open_source(self.source, self.hub, txt=self.txt)
        hashes = {part.name: part.sha256 for part in parts}
        if self.hashes and hashes != self.hashes:
            fix = "Let it be written to its end, and run the command again."
            raise DataError("The source has changed while it was read.", self.source, fix)
        self.hashes.update(hashes)
        self.bad.clear()
        for row in (row for part in parts for row in part.rows):
            if row.is_blank:
                continue
            try:
                if row.value is None:
                    raise Unusable(row.reason)
                yield row, self.text(row.value)
            except Unusable as problem:
                self.bad.append(BadLine(file=row.file, line=row.line, reason=str(problem)))
                if len(self.bad) > self.max_bad:
                    raise self.too_many() from problem

    def too_many(self) -> DataError:
        """The error for the unusable row that was one too many."""
        many = f"{len(self.bad)} rows of the source are no text."
        what = "A row of the source is no text." if len(self.bad) == 1 else many
        fix = "Mend or remove it, or name its column with --column; or raise --max-bad "
        fix += f"(now {self.max_bad}) to leave such rows out, counted."
        return DataError(what, "; ".join(map(str, self.bad[-SHOWN:])), fix)

    def documents(self) -> Iterator[Document]:
        """Read every document, empty ones included."""
        for row, text in self.rows():
            name = (row.value or {}).get("id")
            own = str(name) if isinstance(name, str | int) else ""
            yield Document(content=text, source=row.file, line=row.line, id=own)

    def write_kept(self, folder: Path, keep: Sequence[bool]) -> str:
        """Write the rows of kept documents as JSON lines, all columns; return the name."""
        path = folder / KEPT
        with atomic(path) as temporary, temporary.open("w", encoding="utf-8") as handle:
            for (row, _), is_kept in zip(self.rows(), keep, strict=True):
                if is_kept:
                    line = json.dumps(row.value, ensure_ascii=False, default=_plain)
                    handle.write(line + "\n")
        return KEPT


def _plain(value: object) -> object:
    """A value of a Parquet column that JSON does not have, as text."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return str(value)
    values, fix = f"a column holds {type(value).__name__}", "Leave that column out."
    raise DataError("A row cannot be written as JSON.", values, fix)


def column_text(column: str) -> RowText:
    """Take the text of one column. Unusable for a row without it."""

    def text(row: Mapping[str, Any]) -> str:
        if column not in row:
            columns = ", ".join(map(str, row)) or "nothing"
            raise Unusable(f"no column {column}; found: {columns}")
        return utf8_text(row[column], column)

    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSet:
    """Token shards."""

    source: str
    corpus: ShardSet

    def documents(self) -> Iterator[Document]:
        """Read every document, in order."""
        for shard in self.corpus.shards:
            table = document_table(self.corpus, shard)
            names = (table[name].to_pylist() for name in ("id", "source", "line"))
            for number, (own, source, line) in enumerate(zip(*names, strict=True)):
                start, stop = shard.offsets_D[number], shard.offsets_D[number + 1]
                yield Document(
                    content=shard.tokens_T[start:stop],
                    source=str(source),
                    line=int(line or 0),
                    id="" if own is None else str(own),
                )

    def write_kept(self, folder: Path, keep: Sequence[bool]) -> str:
        """Write the kept documents as shards of the same names; the folder's."""
        import pyarrow as pa

        entries = []
        for shard, entry in zip(self.corpus.shards, self.corpus.manifest["shards"], strict=True):
            chosen = keep[shard.first_document : shard.first_document + shard.documents]
            offsets = shard.offsets_D
            arrays = (
                shard.tokens_T[offsets[number] : offsets[number + 1]]
                for number, is_kept in enumerate(chosen)
                if is_kept
            )
            path = folder / KEPT_SHARDS / f"{shard.name}.safetensors"
            about = open_tokens(shard.path).about
            size = self.corpus.vocab_size
            documents, tokens = write_tokens(path, arrays, vocab_size=size, about=about)
            table = document_table(self.corpus, shard).filter(pa.array(chosen, pa.bool_()))
            write_table(path.with_name(f"{shard.name}.documents.parquet"), table)
            written = {"documents": documents, "tokens": tokens, "sha256": sha256_file(path)}
            entries.append({**entry, **written})
        totals = {name: sum(one[name] for one in entries) for name in ("documents", "tokens")}
        manifest = {**self.corpus.manifest, **totals, "shards": entries, "kept_of": self.source}
        write_json(folder / KEPT_SHARDS / MANIFEST, manifest)
        return KEPT_SHARDS


def is_shards(source: str) -> bool:
    """Whether a source is a folder of token shards, finished or not."""
    folder = Path(source)
    if not folder.is_dir():
        return False
    if (folder / MANIFEST).is_file():
        try:
            manifest = read_json(folder / MANIFEST)
        except (json.JSONDecodeError, UnicodeDecodeError):
            manifest = {}
        if isinstance(manifest, dict) and manifest.get("format") == FORMAT:
            return True
    return any(folder.glob("shard-*.safetensors"))


def open_token_set(source: str) -> TokenSet:
    """Open token shards. DataError as `open_shards`."""
    return TokenSet(source=source, corpus=open_shards(Path(source)))


def check_comparable(a: TextSet | TokenSet, b: TextSet | TokenSet) -> None:
    """Refuse a text beside tokens, and tokens of two tokenizers."""
    if isinstance(a, TokenSet) and isinstance(b, TokenSet):
        one, two = ((each.corpus.tokenizer, each.corpus.vocab_size) for each in (a, b))
        if one == two:
            return
        values = (
            f"{a.source}: {one[0][:12] or 'unknown'}, {one[1]} ids; "
            f"{b.source}: {two[0][:12] or 'unknown'}, {two[1]} ids"
        )
        fix = "Tokenise one of them again with the other's tokenizer, or compare the texts."
        raise DataError("The two sets were made with different tokenizers.", values, fix)
    if isinstance(a, TokenSet) or isinstance(b, TokenSet):
        kinds = ("tokens" if isinstance(each, TokenSet) else "texts" for each in (a, b))
        values = f"{a.source}: {next(kinds)}; {b.source}: {next(kinds)}"
        fix = "Give the texts of both, or token shards of both."
        raise DataError("Tokens cannot be compared with texts.", values, fix)
