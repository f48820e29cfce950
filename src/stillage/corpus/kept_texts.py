"""Write the texts of kept documents, decoded or cut from the sources.

Without sources a text is what the tokenizer makes of the ids, which need not be what was tokenised
(white space, accents, case, as the tokenizer has it). With the sources it is the text itself: a
whole document as it stands, a rest from its first token's first character to its last token's last,
by the places that the tokenizer gives. A character of which a token went goes whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.cuts import KeptDocument, Rest, Spans, shard_pieces
from stillage.corpus.exact_copies import DocumentReader
from stillage.corpus.pace import Tell
from stillage.corpus.rows import Row, Unusable, utf8_text
from stillage.corpus.shards import ShardSet, document_table
from stillage.corpus.sources import open_source
from stillage.corpus.token_file import open_tokens
from stillage.corpus.tokenizers import largest_id
from stillage.errors import DataError
from stillage.run.folder import atomic, read_table
from stillage.types import Array

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TEXTS = "kept.jsonl"
BATCH = 256  # documents decoded at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """How the kept texts are made."""

    tokenizer: Tokenizer
    digest: str  # sha256 of its rules
    sources: tuple[str, ...] = ()  # what was tokenised, in that order; (): decoded

    @property
    def origin(self) -> str:
        """Where the texts come from."""
        return "sources" if self.sources else "decoded"


def check_texts(texts: Texts, corpus: ShardSet) -> None:
    """DataError where the tokenizer or the sources are not those of the shards."""
    fix = "Give the tokenizer that made the shards."
    if corpus.tokenizer and corpus.tokenizer != texts.digest:
        values = f"tokenizer: {texts.digest[:12]}; the shards': {corpus.tokenizer[:12]}"
        raise DataError("The shards were made with another tokenizer.", values, fix)
    largest = largest_id(texts.tokenizer)
    if corpus.vocab_size > largest + 1:
        held = max((int(shard.tokens_T.max(initial=0)) for shard in corpus.shards), default=0)
        if held > largest:
            values = f"largest id of the shards: {held}; of the tokenizer: {largest}"
            raise DataError("The tokenizer does not know all ids of the shards.", values, fix)
    if texts.sources and "sources" not in corpus.manifest:
        values = f"{corpus.folder}: its manifest names no sources"
        fix = "Leave --source out: the texts are decoded. Or give the OUT of `corpus tokenize`."
        raise DataError("The shards do not say what they were made of.", values, fix)


def write_text_lines(path: Path, records: Iterable[tuple[str, str, int]], tell: Tell) -> None:
    """Write ids and texts as JSON lines, unless the file is there.

    records: id, text and number of tokens of each document.
    """
    if path.is_file():
        return
    with atomic(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        for name, text, tokens in records:
            handle.write(json.dumps({"id": name, "text": text}, ensure_ascii=False) + "\n")
            tell(tokens)


def decoded(
    texts: Texts, out: Path, entries: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[str, str, int]]:
    """Decode the kept documents of all shards, special tokens included."""
    for entry in entries:
        file = open_tokens(out / f"{entry['name']}.safetensors", "The shard")
        names = read_table(out / f"{entry['name']}.documents.parquet").column("id").to_pylist()
        offsets = file.offsets_D.tolist()
        for first in range(0, file.documents, BATCH):
            numbers = range(first, min(first + BATCH, file.documents))
            ids = [file.tokens_T[offsets[at] : offsets[at + 1]].tolist() for at in numbers]
            written = texts.tokenizer.decode_batch(ids, skip_special_tokens=False)
            for at, text in zip(numbers, written, strict=True):
                yield names[at], text, offsets[at + 1] - offsets[at]


def from_sources(
    texts: Texts, corpus: ShardSet, spans: Spans, rest: Rest, out: Path
) -> Iterator[tuple[str, str, int]]:
    """The kept documents of all shards as they stand in the sources.

    DataError where these are not what was tokenised.
    """
    given, read = source_texts(texts, corpus), DocumentReader(corpus)
    encoder = type(texts.tokenizer).from_str(texts.tokenizer.to_str())
    encoder.encode_special_tokens = True  # as `corpus tokenize`: a text that spells one is text
    number, text, places = -1, "", np.zeros((0, 2), dtype=np.int64)
    for shard in corpus.shards:
        kept = read_table(out / f"{shard.name}.documents.parquet").column("id").to_pylist()
        for name, (piece, ids) in zip(kept, shard_pieces(shard, spans, rest), strict=True):
            is_new = piece.document != number
            while number < piece.document:
                number, text = number + 1, next(given)
            if piece.is_whole:
                yield name, text, len(ids)
                continue
            if is_new:
                places = token_places(encoder, text, read(number), name)
            yield name, cut_text(text, places, piece), len(ids)


def source_texts(texts: Texts, corpus: ShardSet) -> Iterator[str]:
    """The text of each document of the corpus, in order, from the sources.

    DataError where a source is another one, or ends too early.
    """
    settings, hashes = corpus.manifest["settings"], corpus.manifest["sources"]
    parts = [part for place in texts.sources for part in open_source(place, txt=settings["txt"])]
    fix = "Give what `corpus tokenize` was given, in the same order."
    for part in parts:
        if hashes.get(part.name) != part.sha256:
            known = "another content" if part.name in hashes else "not among the sources"
            raise DataError(
                "The sources are not those of the shards.", f"{part.name}: {known}", fix
            )
    rows: Iterator[Row] = (row for part in parts for row in part.rows)
    for shard in corpus.shards:
        table = document_table(corpus, shard)
        places = zip(
            table.column("source").to_pylist(), table.column("line").to_pylist(), strict=True
        )
        for place in places:
            row = next((row for row in rows if (row.file, row.line) == place), None)
            if row is None or row.value is None:
                values = f"no document at {place[0]}, line {place[1]}"
                raise DataError("The sources are not those of the shards.", values, fix)
            yield text_of(row, settings.get("text", "text"))


def text_of(row: Row, column: str) -> str:
    """The text of a row. DataError where there is none."""
    assert row.value is not None
    try:
        return utf8_text(row.value.get(column), column)
    except Unusable as error:
        values, fix = f"{row.file}, line {row.line}: {error}", "Give what was tokenised."
        raise DataError("A row of the sources holds no text.", values, fix) from error


def token_places(encoder: Tokenizer, text: str, document_T: Array, name: str) -> Array:
    """Find the first character of each token, and the one after its last, int64[T, 2].

    DataError where the text has other tokens than the document.
    """
    encoding = encoder.encode(text, add_special_tokens=False)
    if not np.array_equal(encoding.ids, document_T):
        values = f"{name}: {len(encoding.ids)} tokens; in the shard: {len(document_T)}"
        fix = "Give the sources and the tokenizer that made the shards."
        raise DataError("A text of the sources has other tokens than its document.", values, fix)
    return np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)


def cut_text(text: str, places: Array, piece: KeptDocument) -> str:
    """The characters of a rest: none that a token before or after it holds too."""
    parts = []
    for first, last in piece.runs:
        start = 0 if first == 0 else max(int(places[first][0]), int(places[first - 1][1]))
        end = len(text)
        if last < len(places):
            end = min(int(places[last - 1][1]), int(places[last][0]))
        parts.append(text[start:end])
    return "".join(parts)
