"""`stillage data plain-text ACTION ...`: make, read, count, pack or import the plain-text corpus for `lm_coef`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stillage.errors import ConfigError, DataError, did_you_mean
from stillage.run.parse import typed

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

    from stillage.cli.progress import Board
    from stillage.corpus.indexed import IndexedSet

USAGE = """usage: stillage data plain-text ACTION ...

  write SOURCE OUT    any text (.txt, .jsonl, .parquet, a folder, a hub id) as one document per line, newlines as <@x(x!>
  read CORPUS [OUT]   such a corpus as JSON lines {"text": ...}, on the screen or in OUT (.jsonl)
  stats CORPUS        count documents and characters
  pack CORPUS OUT     tokenise and cut into blocks of equal length, in one .safetensors file
  import FOLDER OUT   the same from a published indexed set (.bin/.idx) that is tokenised already
                      (prompts and responses: OUT is .jsonl, records for data.source; needs --tokenizer)

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
class Stats:
    """`stats CORPUS` has no settings."""


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


def main(verb: str, words: list[str]) -> int:
    """Do one action. words: what follows `plain-text`."""
    if not words or words[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    action, rest = words[0], words[1:]
    if action not in ACTIONS:
        fix = did_you_mean(action, ACTIONS, f"Choose from: {', '.join(ACTIONS)}.")
        raise ConfigError(
            "There is no such action on a plain-text corpus.", f"given: {action}", fix
        )
    return ACTIONS[action](f"stillage {verb} plain-text {action}", rest)


def write(prog: str, words: list[str]) -> int:
    """Make a corpus."""
    (source, out), flags = paths(prog, words, ("SOURCE", "OUT"))
    from stillage.corpus.sources import HubPart
    from stillage.corpus.text_corpus import DocumentRules, write_text_corpus

    chosen = typed(Write, flags, f"{prog} SOURCE OUT")
    rules = DocumentRules(
        column=chosen.column,
        txt=chosen.txt,
        on_mark=chosen.on_mark,
        max_bad_lines=chosen.max_bad_lines,
        limit=chosen.limit,
    )
    hub = HubPart(revision=chosen.revision, subset=chosen.subset, split=chosen.hub_split)
    corpus = write_text_corpus(source, Path(out), rules, hub)
    print(corpus.summary())
    return 0


def read(prog: str, words: list[str]) -> int:
    """Give the documents back, as JSON lines."""
    found, flags = paths(prog, words, ("CORPUS", "[OUT]"))
    from itertools import islice

    from stillage.corpus.text_corpus import read_text_corpus
    from stillage.run.folder import atomic

    limit = typed(Read, flags, f"{prog} CORPUS [OUT]").limit
    lines: Iterator[str] = (
        json.dumps({"text": text}, ensure_ascii=False) + "\n"
        for text in islice(read_text_corpus(Path(found[0])), limit or None)
    )
    if len(found) == 1:
        sys.stdout.writelines(lines)
        return 0
    out = Path(found[1])
    if out.suffix != ".jsonl":
        raise ConfigError(
            "The documents are written as JSON lines.",
            f"given: {out}",
            "Name a file ending in .jsonl.",
        )
    with atomic(out) as temporary, temporary.open("w", encoding="utf-8", newline="") as handle:
        handle.writelines(lines)
    print(f"written: {out}")
    return 0


def stats(prog: str, words: list[str]) -> int:
    """Count."""
    (corpus,), flags = paths(prog, words, ("CORPUS",))
    from stillage.corpus.text_corpus import measure_text_corpus

    typed(Stats, flags, f"{prog} CORPUS")
    print(measure_text_corpus(Path(corpus)).summary())
    return 0


def pack(prog: str, words: list[str]) -> int:
    """Tokenise and cut into blocks."""
    (corpus, out), flags = paths(prog, words, ("CORPUS", "OUT"))
    chosen = typed(Pack, flags, f"{prog} CORPUS OUT")
    if not chosen.tokenizer:
        raise ConfigError(
            "Which tokenizer?",
            "--tokenizer was not given",
            "Give the folder of the model to train.",
        )
    from stillage.cli.progress import Board
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
    """Documents on a board as they are packed. size: of the files in bytes, which makes the time left a rough one."""
    started, read = time.monotonic(), 0

    def count(documents: int, characters: int) -> None:
        nonlocal read
        read += characters
        left = (time.monotonic() - started) * max(0, size - read) / max(1, read)
        board.show(
            "pack", {"doing": "{} documents tokenised", "done": documents, "eta_s": round(left, 1)}
        )

    return count


def import_(prog: str, words: list[str]) -> int:
    """Bring a published indexed set into our blocks, or its prompts and responses into records."""
    (folder, out), flags = paths(prog, words, ("FOLDER", "OUT"))
    chosen = typed(Import, flags, f"{prog} FOLDER OUT")
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
            fix = f"Give --tokenizer and an OUT that ends in .jsonl (or use {chosen.split}.jsonl, which its makers wrote)."
            values = f"{folder}/{chosen.split}; tokenizer: {chosen.tokenizer or 'none'}; out: {out}"
            raise DataError("The set holds prompts and responses, not plain text.", values, fix)
        print(
            f"{write_pairs(indexed, tokenizer, Path(out))} records with prompt and response; --data.template raw"
        )
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


ACTIONS: dict[str, Callable[[str, list[str]], int]] = {
    "write": write,
    "read": read,
    "stats": stats,
    "pack": pack,
    "import": import_,
}
SETTINGS = {"write": Write, "read": Read, "stats": Stats, "pack": Pack, "import": Import}


def paths(prog: str, words: list[str], names: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """The words before the first flag, one for each name ([...] may be absent), and the flags. Shows help where asked."""
    first = next((index for index, word in enumerate(words) if word.startswith("-")), len(words))
    given, flags = words[:first], words[first:]
    if "-h" in flags or "--help" in flags:
        print(f"usage: {prog} {' '.join(names)} [settings]\n")
        sys.stdout.flush()
        typed(SETTINGS[prog.split()[-1]], ["--help"], prog)
    needed = [name for name in names if not name.startswith("[")]
    if not len(needed) <= len(given) <= len(names):
        fix = f"{prog} {' '.join(names)}"
        raise ConfigError(
            f"{prog.split()[-1]} takes {' and '.join(names)}.",
            f"given: {' '.join(given) or 'nothing'}",
            fix,
        )
    return given, flags


def write_pairs(indexed: IndexedSet, tokenizer: PreTrainedTokenizerFast, out: Path) -> int:
    """Prompts and responses as text, a JSON line each, without the end of text; how many."""
    from stillage.run.folder import atomic

    with atomic(out) as temporary, temporary.open("w", encoding="utf-8") as handle:
        for number in range(indexed.sequences):
            prompt, response = (ids.tolist() for ids in indexed.pair(number))
            response = response[:-1] if response[-1:] == [tokenizer.eos_token_id] else response
            record = {"prompt": tokenizer.decode(prompt), "response": tokenizer.decode(response)}
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
    return indexed.sequences
