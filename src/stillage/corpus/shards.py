"""Token shards: a tokenised corpus in files of a handy size.

A folder: `manifest.json` (written last), and for each shard two files: `shard-00000.safetensors`
(`token_file`) and `shard-00000.documents.parquet` (id, source, line of each document). Documents
are numbered through all shards, in order.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.corpus.token_file import open_tokens
from stillage.errors import DataError
from stillage.run.folder import read_json, read_table, sha256_file
from stillage.run.progress import Progress
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "stillage shards 1"
SHARD_FORMAT = "stillage shard 1"
MANIFEST = "manifest.json"
FACTS = {"vocab_size": int, "tokenizer": str}
ENTRY = {"name": str, "documents": int, "tokens": int, "sha256": str}
"""What a manifest says of the corpus, and of each shard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One open shard; its document d is document first_document + d of the corpus."""

    name: str  # shard-00000
    path: Path
    tokens_T: Array  # uint16 or uint32, memory-mapped
    offsets_D: Array  # int64, one more than documents
    first_document: int
    sha256: str  # of the file of tokens: what an index or a scan belongs to

    @property
    def documents(self) -> int:
        """How many documents the shard holds, empty ones included."""
        return len(self.offsets_D) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSet:
    """An open corpus of shards."""

    folder: Path
    shards: tuple[Shard, ...]
    vocab_size: int
    tokenizer: str  # sha256 of its rules; "" where the ids came without one
    manifest: Mapping[str, Any]

    @property
    def documents(self) -> int:
        """Documents of all shards, empty ones included."""
        return sum(shard.documents for shard in self.shards)

    @property
    def tokens(self) -> int:
        """Tokens of all shards."""
        return sum(len(shard.tokens_T) for shard in self.shards)


def open_shards(folder: Path) -> ShardSet:
    """Open a tokenised corpus; tokens are mapped, not read.

    DataError where the manifest is missing (tokenising was not finished) or a shard is missing, cut
    short, or does not hold what the manifest says.
    """
    manifest = read_shards_manifest(folder)
    shards, first = [], 0
    for entry in manifest["shards"]:
        path = folder / f"{entry['name']}.safetensors"
        file = open_tokens(path, "The shard")
        counts = {"documents": file.documents, "tokens": len(file.tokens_T)}
        expected = {key: entry[key] for key in counts}
        if counts != expected:
            values, fix = f"{path}: {counts}; manifest: {expected}", "Tokenise the corpus again."
            raise DataError("The shard and the manifest do not belong together.", values, fix)
        shards.append(
            Shard(
                name=entry["name"],
                path=path,
                tokens_T=file.tokens_T,
                offsets_D=file.offsets_D,
                first_document=first,
                sha256=entry["sha256"],
            )
        )
        first += file.documents
    return ShardSet(
        folder=folder,
        shards=tuple(shards),
        vocab_size=manifest["vocab_size"],
        tokenizer=manifest["tokenizer"],
        manifest=manifest,
    )


def read_shards_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a corpus. DataError where there is none, or another file's."""
    path = folder / MANIFEST
    if not path.is_file():
        values = f"looked for: {path}"
        fix = "Give the OUT of `stillage corpus tokenize`; where that was stopped, continue it."
        raise DataError("The folder holds no finished token shards.", values, fix)
    try:
        manifest = read_json(path)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        values, fix = f"{path}: {error}", "Copy it anew, or tokenise again."
        raise DataError("The manifest of the shards is damaged.", values, fix) from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        given = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        values, fix = f"{path}: format {given}", "Give the OUT of `stillage corpus tokenize`."
        raise DataError("The folder does not hold token shards.", values, fix)
    if wrong := missing_from(manifest):
        values, fix = f"{path}: {wrong}", "Copy it anew, or tokenise again."
        raise DataError("The manifest of the shards is damaged.", values, fix)
    return manifest


def shard_about(vocab_size: int, tokenizer: str, first_document: int) -> dict[str, Any]:
    """Make the metadata of a shard's file of tokens."""
    return {
        "format": SHARD_FORMAT,
        "vocab_size": vocab_size,
        "tokenizer": tokenizer,
        "first_document": first_document,
    }


def missing_from(manifest: Mapping[str, Any]) -> str:
    """Say what a manifest lacks, or holds as something else; empty where all is there."""
    entries = manifest.get("shards")
    if not isinstance(entries, list) or not entries:
        return "no list of shards"
    held = [("", manifest, FACTS)]
    held += [(f"shard {number}: ", entry, ENTRY) for number, entry in enumerate(entries)]
    for where, facts, kinds in held:
        for name, kind in kinds.items():
            value = facts.get(name) if isinstance(facts, dict) else None
            if type(value) is not kind or (isinstance(value, int) and value < 0):
                return f"{where}{name} is {value!r}"
    return ""


def check_content(corpus: ShardSet, progress: Progress) -> None:
    """Compare every shard's file with the hash that the manifest holds of it.

    DataError for one that is not as it was written, e.g. another of the same size.
    """
    for number, shard in enumerate(corpus.shards):
        facts = {"doing": "{} shards compared with their hashes", "done": number}
        progress("check", facts | {"of": len(corpus.shards)})
        check_shard(shard)


def check_shard(shard: Shard) -> None:
    """Compare a shard's file with the hash that the manifest holds of it."""
    found = sha256_file(shard.path)
    if found != shard.sha256:
        values = f"{shard.path}: sha256 {found[:12]}; manifest: {shard.sha256[:12]}"
        fix = "Copy it anew, or tokenise the corpus again."
        raise DataError("The shard is not the one that was written.", values, fix)


def document_table(corpus: ShardSet, shard: Shard) -> pa.Table:
    """Where a shard's documents came from: id, source, line; a row a document."""
    import pyarrow as pa

    path, fix = (
        corpus.folder / f"{shard.name}.documents.parquet",
        "Copy it anew, or tokenise again.",
    )
    try:
        table = read_table(path)
    except (OSError, pa.ArrowInvalid) as error:
        what = "The table of a shard's documents cannot be read."
        raise DataError(what, f"{path}: {error}", fix) from error
    if len(table) != shard.documents:
        values = f"{path}: {len(table)} rows; documents: {shard.documents}"
        raise DataError("The shard and its documents do not belong together.", values, fix)
    return table
