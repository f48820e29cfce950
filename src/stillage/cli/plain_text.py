"""`stillage data plain-text ACTION ...`: make, read, pack or import a corpus."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stillage.cli.paths import NoSettings, read_paths
from stillage.errors import ConfigError, DataError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stillage.cli.board import Board
    from stillage.corpus.indexed import IndexedSet

USAGE = """usage: stillage data plain-text ACTION ...

  write SOURCE OUT    any text (.txt, .jsonl, .parquet, a folder, a hub id) as one document per
                      line, newlines as <@x(x!>
  read CORPUS [OUT]   such a corpus as JSON lines {"text": ...}, on the screen or in OUT (.jsonl)
  stats CORPUS        count documents and characters
  pack CORPUS OUT     tokenise and cut into blocks of equal length, in one .safetensors file
  import FOLDER OUT   the same from a published indexed set (.bin/.idx) that is tokenised already
                      (prompts and responses: OUT is .jsonl, records for data.source; needs
                      --tokenizer)

stillage data plain-text ACTION --help shows the settings of one."""


@dataclass(frozen=True, kw_only=True)
class Write:
    """What `write SOURCE OUT` takes besides."""

    column: str = "text"
    """The column of tables that holds the text."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    subset: str = ""
    """Configuration of a hub id."""
    hub_split: str = "train"
    """Split of a hub id or a saved data set."""
    txt: Literal["document", "lines"] = "document"
    """What a .txt file holds: one document, or one on each line."""
    on_mark: Literal["refuse", "drop"] = "refuse"
    """What to do with a document that spells <@x(x!> itself: the format cannot hold it."""
    max_bad_lines: int = 0
    """How many rows without usable text to leave out (counted and listed)."""
    limit: int = 0
    """Stop after so many documents; 0: all."""


@dataclass(frozen=True, kw_only=True)
class Read:
    """What `read CORPUS [OUT]` takes besides."""

    limit: int = 0
    """Stop after so many documents; 0: all."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """What `pack CORPUS OUT` takes besides."""

    tokenizer: str = ""
    """The model whose tokenizer is used: a folder or a hub id."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    block_tokens: int = 512
    """Tokens per block (512 in MiniLLM and DistiLLM)."""
    newline_before_end: bool = False
    """Encode each document with the newline that ended its line, as the released scripts do."""


@dataclass(frozen=True, kw_only=True)
class Import:
    """What `import FOLDER OUT` takes besides."""

    split: str = "train"
    """Name of the shards: SPLIT_0.bin, SPLIT_1.bin, ..."""
    block_tokens: int = 0
    """Tokens per block; 0: the length that the published blocks have."""
    tokenizer: str = ""
    """The model the set was made for (a folder or a hub id): its vocabulary checks the ids."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""


def help_text(verb: str, words: list[str]) -> str:
    """Return how the actions are called, or one action and its settings."""
    if not words or words[0] not in ACTIONS:
        return USAGE
    from stillage.cli.help import settings_help

    _, kind, names = ACTIONS[words[0]]
    usage = f"usage: stillage {verb} plain-text {words[0]} {' '.join(names)} [settings]"
    return settings_help(usage, kind(), words)


def main(verb: str, words: list[str]) -> int:
    """Do one action. words: what follows `plain-text`."""
    if not words:
        print(USAGE)
        return 0
    action, rest = words[0], words[1:]
    if action not in ACTIONS:
        fix = did_you_mean(action, ACTIONS, f"Choose from: {', '.join(ACTIONS)}.")
        what = "There is no such action on a plain-text corpus."
        raise ConfigError(what, f"given: {action}", fix)
    do, kind, names = ACTIONS[action]
    prog = f"stillage {verb} plain-text {action}"
    return do(*read_paths(prog, rest, names, kind))


def write_corpus(paths: list[str], chosen: Write) -> int:
    """Make a corpus."""
    from stillage.corpus.sources import HubPart
    from stillage.corpus.text_corpus import DocumentRules, write_text_corpus

    source, out = paths
    names = ("column", "txt", "on_mark", "max_bad_lines", "limit")
    rules = DocumentRules(**{name: getattr(chosen, name) for name in names})
    hub = HubPart(revision=chosen.revision, subset=chosen.subset, split=chosen.hub_split)
    corpus = write_text_corpus(source, Path(out), rules, hub)
    print(corpus.summary())
    return 0


def read_corpus(paths: list[str], chosen: Read) -> int:
    """Give the documents back, as JSON lines."""
    from itertools import islice

    from stillage.corpus.text_corpus import read_text_corpus
    from stillage.run.folder import atomic

    lines: Iterator[str] = (
        json.dumps({"text": text}, ensure_ascii=False) + "\n"
        for text in islice(read_text_corpus(Path(paths[0])), chosen.limit or None)
    )
    if len(paths) == 1:
        sys.stdout.writelines(lines)
        return 0
    out = Path(paths[1])
    if out.suffix != ".jsonl":
        what, fix = "The documents are written as JSON lines.", "Name a file ending in .jsonl."
        raise ConfigError(what, f"given: {out}", fix)
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.writelines(lines)
    print(f"written: {out}")
    return 0


def count_corpus(paths: list[str], chosen: NoSettings) -> int:
    """Count documents and characters."""
    from stillage.corpus.text_corpus import measure_text_corpus

    print(measure_text_corpus(Path(paths[0])).summary())
    return 0


def pack_blocks(paths: list[str], chosen: Pack) -> int:
    """Tokenise and cut into blocks."""
    corpus, out = paths
    if not chosen.tokenizer:
        fix = "Give the folder of the model to train."
        raise ConfigError("Which tokenizer?", "--tokenizer was not given", fix)
    from stillage.cli.board import Board
    from stillage.corpus.pack import pack_corpus
    from stillage.corpus.text_corpus import corpus_files, read_text_corpus
    from stillage.models.load import load_tokenizer

    tokenizer = load_tokenizer(chosen.tokenizer, chosen.revision)
    with Board() as board:
        count = counting(board, sum(file.stat().st_size for file in corpus_files(Path(corpus))))
        blocks = pack_corpus(
            read_text_corpus(Path(corpus)),
            tokenizer,
            Path(out),
            block_tokens=chosen.block_tokens,
            newline_before_end=chosen.newline_before_end,
            progress=count,
        )
    print(blocks.summary())
    return 0


def counting(board: Board, size: int) -> Callable[[int, int], None]:
    """Show documents on a board as they are packed, with a rough time left.

    size: of the files, in bytes.
    """
    started, read = time.monotonic(), 0

    def count(documents: int, characters: int) -> None:
        nonlocal read
        read += characters
        left = (time.monotonic() - started) * max(0, size - read) / max(1, read)
        facts = {"doing": "{} documents tokenised", "done": documents, "eta_s": round(left, 1)}
        board.show("pack", facts)

    return count


def import_indexed(paths: list[str], chosen: Import) -> int:
    """Import a published indexed set as blocks, or its prompts and responses."""
    folder, out = paths
    from stillage.corpus.indexed import open_indexed
    from stillage.corpus.token_blocks import write_blocks

    vocab_size, name, tokenizer = 0, "", None
    if chosen.tokenizer:
        from stillage.corpus.tokenizers import rules_hash
        from stillage.models.load import load_tokenizer

        tokenizer = load_tokenizer(chosen.tokenizer, chosen.revision)
        vocab_size, name = len(tokenizer), rules_hash(tokenizer)
    indexed = open_indexed(Path(folder), chosen.split, vocab_size=vocab_size)
    print(indexed.summary())
    if indexed.separator is not None:
        if tokenizer is None or Path(out).suffix != ".jsonl":
            fix = (
                "Give --tokenizer and an OUT that ends in .jsonl "
                f"(or use {chosen.split}.jsonl, which its makers wrote)."
            )
            values = f"{folder}/{chosen.split}; tokenizer: {chosen.tokenizer or 'none'}; out: {out}"
            raise DataError("The set holds prompts and responses, not plain text.", values, fix)
        count = write_pairs(indexed, tokenizer, Path(out))
        print(f"{count} records with prompt and response; --data.template raw")
        return 0
    written = write_blocks(
        Path(out),
        indexed.blocks(),
        tokenizer=name,
        vocab_size=vocab_size or indexed.largest_id + 1,
        block_tokens=chosen.block_tokens
        or max(int(shard.sizes_N.max(initial=0)) for shard in indexed.shards),
    )
    print(written.summary())
    return 0


ACTIONS: Mapping[str, tuple[Callable[..., int], type, tuple[str, ...]]] = {
    "write": (write_corpus, Write, ("SOURCE", "OUT")),
    "read": (read_corpus, Read, ("CORPUS", "[OUT]")),
    "stats": (count_corpus, NoSettings, ("CORPUS",)),
    "pack": (pack_blocks, Pack, ("CORPUS", "OUT")),
    "import": (import_indexed, Import, ("FOLDER", "OUT")),
}
"""Action -> what does it, its settings, and the places that it takes."""


def write_pairs(indexed: IndexedSet, tokenizer: PreTrainedTokenizerFast, out: Path) -> int:
    """Write prompts and responses as JSON lines, without the end of text; how many."""
    from stillage.run.folder import atomic

    with atomic(out) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for number in range(indexed.sequences):
            prompt, response = (ids.tolist() for ids in indexed.pair(number))
            response = response[:-1] if response[-1:] == [tokenizer.eos_token_id] else response
            record = {"prompt": tokenizer.decode(prompt), "response": tokenizer.decode(response)}
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
    return indexed.sequences
