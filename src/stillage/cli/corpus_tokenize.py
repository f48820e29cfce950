"""`stillage corpus tokenize SRC... OUT`: documents as token shards."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stillage.errors import ConfigError, DataError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from stillage.corpus.encode import Encoding

NAMES = ("SRC...", "OUT")
SHOWN = 5
SMALL = 4_000_000
"""Bytes of sources below which a second process costs more than it gains."""


@dataclass(frozen=True, kw_only=True)
class TokenizeFlags:
    """What `tokenize SRC... OUT` takes besides."""

    tokenizer: str = ""
    """A tokenizer.json, or the model (a folder or a hub id) whose tokenizer is used."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    column: str = "text"
    """The column that holds the text."""
    ids_column: str = ""
    """The column that holds lists of token ids: nothing is tokenised; give vocab_size too."""
    vocab_size: int = 0
    """Number of ids there can be; 0: the tokenizer's. An id takes two bytes up to 65536, else
    four."""
    id_column: str = "id"
    """The column that names a document; where there is no column `id`, FILE:LINE names it."""
    txt: Literal["document", "lines"] = "document"
    """What a .txt file holds: one document, or one on each line."""
    max_bad: int = 0
    """How many rows that cannot be used to put aside, counted and listed in bad_lines.parquet."""
    shard_tokens: int = 100_000_000
    """Tokens of a shard, at most; a longer document is a shard by itself."""
    jobs: int = 0
    """Processes; 0: one for each core. Decides no byte of the shards."""


SETTINGS = TokenizeFlags


def main(paths: list[str], settings: TokenizeFlags) -> int:
    """Tokenise, show how far it is, and say what came out."""
    from stillage.cli.board import Board
    from stillage.corpus.document_stream import Running
    from stillage.corpus.tokenize import TokenizeRules, tokenize
    from stillage.run.stop import watch_signals

    *sources, out = paths
    encoding, digest = encoding_of(settings)
    rules = TokenizeRules(
        encoding=encoding,
        tokenizer=digest,
        shard_tokens=settings.shard_tokens,
        txt=settings.txt,
    )
    with watch_signals() as stop, Board() as board:
        running = Running(
            max_bad=settings.max_bad,
            jobs=settings.jobs or usual_jobs(sources),
            stop=stop,
            tell=lambda facts: board.show("tokenize", facts),
        )
        manifest = tokenize(sources, Path(out), rules, running)
    print("\n".join(what_came_out(manifest, out)))
    return 0


def encoding_of(settings: TokenizeFlags) -> tuple[Encoding, str]:
    """How rows become ids, and the hash of the tokenizer ("" for ids as they come)."""
    from stillage.corpus.encode import Encoding
    from stillage.corpus.tokenizers import backend_hash, largest_id

    if settings.ids_column:
        if settings.tokenizer or settings.vocab_size < 1:
            values = f"tokenizer: {settings.tokenizer or 'none'}; vocab_size: {settings.vocab_size}"
            fix = "Give --ids-column with --vocab-size, and no --tokenizer."
            raise ConfigError("Ids come with the size of their vocabulary.", values, fix)
        encoding = Encoding(
            rules="",
            column=settings.ids_column,
            id_column=settings.id_column,
            vocab_size=settings.vocab_size,
        )
        return encoding, ""
    tokenizer = backend_tokenizer(settings.tokenizer, settings.revision)
    needed = largest_id(tokenizer) + 1
    if 0 < settings.vocab_size < needed:
        values = f"vocab_size: {settings.vocab_size}; the tokenizer's: {needed}"
        fix = "Leave it out, or give the size of the model's embedding."
        raise ConfigError("The vocabulary is smaller than the tokenizer's.", values, fix)
    encoding = Encoding(
        rules=tokenizer.to_str(),
        column=settings.column,
        id_column=settings.id_column,
        vocab_size=settings.vocab_size or needed,
    )
    return encoding, backend_hash(tokenizer)


def backend_tokenizer(place: str, revision: str) -> Tokenizer:
    """A tokenizer.json as it stands, or a model's tokenizer as the model is given it.

    The two may cut differently: transformers sets up some kinds by itself.
    """
    from tokenizers import Tokenizer

    if not place:
        fix = "Give --tokenizer FILE or MODEL; for ids: --ids-column and --vocab-size."
        raise ConfigError("Which tokenizer?", "--tokenizer was not given", fix)
    if is_no_place(place, revision):
        values = f"looked for: {place}; working folder: {Path.cwd()}"
        fix = "Check the path; a model's hub id needs --revision COMMIT too."
        raise DataError("The tokenizer is not there.", values, fix)
    if not Path(place).is_file():
        from stillage.models.load import load_tokenizer

        return load_tokenizer(place, revision).backend_tokenizer
    try:
        return Tokenizer.from_file(place)
    except Exception as error:  # the library has no narrower one
        fix = "Give a tokenizer.json, or the folder of a model."
        what = "The file is no tokenizer."
        raise DataError(what, f"{place}: {str(error).splitlines()[0]}", fix) from error


def hashed_tokenizer(place: str, revision: str) -> tuple[Tokenizer, str]:
    """Load a tokenizer that neither cuts nor pads texts, and hash its rules."""
    from stillage.corpus.tokenizers import backend_hash

    tokenizer = backend_tokenizer(place, revision)
    digest = backend_hash(tokenizer)
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer, digest


def is_no_place(place: str, revision: str) -> bool:
    """Tell whether it is written as a path, and nothing lies there.

    gpt2 and ORG/NAME may be hub ids.
    """
    is_path = re.search(r"[.][a-z]+$|^[./~]|/$|/.*/", place) is not None
    return not Path(place).exists() and (is_path or ("/" in place and not revision))


def usual_jobs(sources: list[str]) -> int:
    """One process for each core that is free for us; one alone for little data."""
    from stillage.run.environment import cpu_count
    from stillage.run.folder import list_files

    files = [Path(source) for source in sources if Path(source).is_file()]
    files += [
        file for source in sources if Path(source).is_dir() for file in list_files(Path(source))
    ]
    size = sum(file.stat().st_size for file in files)
    is_small = bool(files) and size < SMALL
    return 1 if is_small else cpu_count()


def what_came_out(manifest: Mapping[str, Any], out: str) -> list[str]:
    """What came out, and what was put aside."""
    documents = count_and_noun(manifest["documents"], "document")
    shards = count_and_noun(len(manifest["shards"]), "shard")
    tokens = f"{manifest['tokens']:,} tokens in {shards}"
    lines = [f"{documents} ({manifest['empty_documents']:,} empty), {tokens}: {out}"]
    if bad := manifest["bad_lines"]:
        place = Path(out) / "bad_lines.parquet"
        lines.append(f"{count_and_noun(len(bad), 'row')} put aside (in {place}):")
        lines += [f"  {row['source']}, line {row['line']}: {row['reason']}" for row in bad[:SHOWN]]
    return lines


def count_and_noun(count: int, noun: str) -> str:
    """A count and what is counted."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
