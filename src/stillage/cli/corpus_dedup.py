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
    from stillage.corpus.dedup import Decode
    from stillage.corpus.shards import ShardSet

NAMES = ("SHARDS",)
Rules = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]
"""--rule A --rule B, or --rule A B: both are taken."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What `dedup SHARDS` takes besides."""

    rule: Rules = ()
    """exact, ngram:N, jaccard:T. Equal documents; sequences of N tokens that occur elsewhere too;
    documents that share T of their 13-grams (jaccard:T:N: of their N-grams). Several: what any of
    them removes from the corpus as it was."""
    keep: Keep = "first"
    """Which copy stays: the first in document order, or none."""
    rest: Rest = "split"
    """What is left of a document without a middle: split into documents, or joined. Joined rests
    make sequences of tokens across the cut that nobody wrote."""
    out: str = ""
    """The folder for what is kept (token shards again) and removed.parquet."""
    tokenizer: str = ""
    """tokenizer.json, or a folder that holds it: writes kept.jsonl too (id, text). The texts are
    what this tokenizer decodes, which need not be what was tokenised."""


def run(paths: list[str], chosen: Settings) -> int:
    """Take duplicates out of a corpus."""
    rules = read_rules([text for texts in chosen.rule for text in texts])
    if not chosen.out:
        what, fix = "Where to?", "Name a folder for what is kept: --out DIR."
        raise ConfigError(what, "--out was not given", fix)
    from stillage.cli.board import Board
    from stillage.corpus.dedup import Choice, deduplicate
    from stillage.corpus.shards import MANIFEST, open_shards
    from stillage.run.stop import watch_signals

    corpus, out = open_shards(Path(paths[0])), Path(chosen.out)
    decode, name = decoder(chosen.tokenizer, corpus) if chosen.tokenizer else (None, "")
    is_done = (out / MANIFEST).is_file()
    choice = Choice(rules=rules, keep=chosen.keep, rest=chosen.rest)
    with watch_signals(), Board() as board:
        counts = deduplicate(
            corpus, choice, out, decode=decode, tokenizer=name, progress=board.show
        )
    print("\n".join(summary(counts, {rule.text: rule.in_words() for rule in rules})))
    print(
        f"{'was there already' if is_done else 'written'}: {out} (shards, removed.parquet{', kept.jsonl' if decode else ''})"
    )
    return 0


def summary(counts: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
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
        lines.append(
            f"         {counts['copies_gone_too']:,} removed spans name a copy of which tokens went "
            "as well, by another span or rule"
        )
    return lines


def decoder(place: str, corpus: ShardSet) -> tuple[Decode, str]:
    """What writes ids as texts, and the tokenizer's hash. ConfigError where it does not fit."""
    from stillage.corpus.decoding import open_decoder

    return open_decoder(Path(place), corpus)
