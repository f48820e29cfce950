"""`stillage corpus dedup SHARDS --rule R --out DIR`: keep one copy, or none."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from stillage.corpus.cuts import Rest
from stillage.corpus.dedup_rules import Keep, read_rules
from stillage.errors import ConfigError

if TYPE_CHECKING:
    from stillage.corpus.kept_texts import Texts

NAMES = ("SHARDS",)
Rules = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]
"""--rule A --rule B, or --rule A B: both are taken."""


@dataclass(frozen=True, kw_only=True)
class DedupFlags:
    """What `dedup SHARDS` takes besides."""

    rule: Rules = ()
    """exact, ngram:N, jaccard:T[:N]. Equal documents; sequences of N tokens that occur elsewhere
    too (documents shorter than N are compared whole, so that numbers differ a little from those of
    `corpus repeats`, which leaves these out); documents that share T of their N-grams (13 where N
    is not given). Several: what any of them removes from the corpus as it was."""
    keep: Keep = "first"
    """Which copy stays: the first in document order, or none."""
    rest: Rest = "split"
    """What is left of a document without a middle: split into documents, or joined. Joined rests
    make sequences of tokens across the cut that nobody wrote."""
    out: str = ""
    """The folder for what is kept (token shards again) and removed.parquet."""
    tokenizer: str = ""
    """A tokenizer.json, or the model whose tokenizer made the shards: writes kept.jsonl too (id,
    text), decoded by this tokenizer: not always the text that was tokenised (--source gives
    that)."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    source: tuple[str, ...] = ()
    """What was tokenised: kept.jsonl holds its texts as they stand, cut by the tokens' places."""


SETTINGS = DedupFlags


def main(paths: list[str], chosen: DedupFlags) -> int:
    """Take duplicates out of a corpus."""
    rules = read_rules([text for texts in chosen.rule for text in texts])
    if not chosen.out:
        what, fix = "Where to?", "Name a folder for what is kept: --out DIR."
        raise ConfigError(what, "--out was not given", fix)
    from stillage.cli.board import Board
    from stillage.cli.stoppable import stoppable
    from stillage.corpus.dedup import Choice, deduplicate
    from stillage.corpus.shards import MANIFEST, check_content, open_shards
    from stillage.run.stop import watch_signals

    corpus, out = open_shards(Path(paths[0])), Path(chosen.out)
    choice = Choice(rules=rules, keep=chosen.keep, rest=chosen.rest, texts=wanted_texts(chosen))
    is_done = (out / MANIFEST).is_file()
    with watch_signals() as stop, Board() as board:
        check_content(corpus, board.show)
        counts = deduplicate(corpus, choice, out, stoppable(board, stop))
    print("\n".join(dedup_lines(counts, {rule.text: rule.in_words() for rule in rules})))
    done = "was there already" if is_done else "written"
    print(f"{done}: {out} (shards, removed.parquet{', kept.jsonl' if choice.texts else ''})")
    return 0


def dedup_lines(counts: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    """What was there, what went by which rule, and what is kept."""
    lines = [f"before   {counts['documents']:,} documents, {counts['tokens']:,} tokens"]
    for rule, one in counts["by_rule"].items():
        lines += [
            *textwrap.wrap(f"{rule}: {words[rule]}", 100, subsequent_indent=" " * 9),
            f"         {one['spans']:,} spans in {one['documents']:,} documents, "
            f"{one['tokens']:,} tokens",
        ]
    share = 100 * counts["removed_tokens"] / max(1, counts["tokens"])
    lines += [
        f"removed  {counts['removed_tokens']:,} tokens ({share:.1f} %) from "
        f"{counts['changed_documents']:,} documents; keep {counts['keep']}",
        f"kept     {counts['kept_documents']:,} documents, {counts['kept_tokens']:,} tokens; "
        f"rests of a document: {counts['rest']}",
    ]
    if counts["copies_gone_too"]:
        gone = counts["copies_gone_too"]
        lines.append(
            f"         of {gone:,} removed span{'s' * (gone != 1)} another rule cut the copy that "
            f"was to stay: {'its' if gone == 1 else 'their'} text may be gone"
        )
    return lines


def wanted_texts(chosen: DedupFlags) -> Texts | None:
    """How the kept texts are made; None where none are asked for."""
    if not chosen.tokenizer:
        if chosen.source:
            fix = "Give the tokenizer that made the shards too: --tokenizer FILE or MODEL."
            what = "Texts are cut at the places of tokens."
            raise ConfigError(what, "--source without --tokenizer", fix)
        return None
    from stillage.cli.corpus_tokenize import hashed_tokenizer
    from stillage.corpus.kept_texts import Texts

    tokenizer, digest = hashed_tokenizer(chosen.tokenizer, chosen.revision)
    return Texts(tokenizer=tokenizer, digest=digest, sources=chosen.source)
