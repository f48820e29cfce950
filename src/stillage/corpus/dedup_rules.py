"""Rules of deduplication: how they are written, and the spans that each removes.

exact            documents equal to another, token by token
ngram:N          sequences of N tokens that occur elsewhere too: spans of documents
jaccard:T        documents whose sets of 13-grams have a Jaccard similarity of T with another's
jaccard:T:N      the same of N-grams; minhash is another name of jaccard
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from stillage.corpus.exact_copies import NONE, document_lengths, equal_copies, first_equals
from stillage.corpus.near_documents import (
    band_recall,
    band_rows,
    near_copies,
    signature_maker,
)
from stillage.corpus.pace import Tell
from stillage.corpus.removal import removal_spans
from stillage.corpus.shard_index import open_index
from stillage.corpus.shards import ShardSet
from stillage.errors import ConfigError, did_you_mean
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Keep = Literal["first", "none"]
USUAL_NGRAM = 13  # of the published deduplication of SlimPajama, at a similarity of 0.8
NUMBERS = ("document", "start", "end", "copy_document", "copy_start")
"""Columns of removed spans: tokens from each document's first; documents of the whole corpus."""
SYNTAX = {"exact": "exact", "ngram": "ngram:N", "jaccard": "jaccard:T or jaccard:T:N"}
NAMES = {"exact": "exact", "ngram": "ngram", "jaccard": "jaccard", "minhash": "jaccard"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule, as it was read."""

    kind: str  # exact, ngram or jaccard
    ngram: int = 0  # tokens; 0 for exact
    threshold: float = 1.0  # Jaccard similarity from which documents are near-copies

    @property
    def text(self) -> str:
        """The shortest text that names it."""
        if self.kind == "jaccard":
            length = "" if self.ngram == USUAL_NGRAM else f":{self.ngram}"
            return f"jaccard:{self.threshold!r}{length}"
        return f"ngram:{self.ngram}" if self.kind == "ngram" else self.kind

    def in_words(self) -> str:
        """What it removes, and for near-copies the chance that a pair is found."""
        if self.kind == "exact":
            return "documents equal to another, token by token"
        if self.kind == "ngram":
            return f"sequences of {self.ngram} tokens that occur elsewhere too"
        missed = 1 - band_recall(self.threshold, band_rows(self.threshold))
        return (
            f"documents with a Jaccard similarity of {self.threshold:g} of their "
            f"{self.ngram}-grams with another's (each confirmed; a pair just as similar is missed "
            f"with probability {missed:.1g})"
        )


def read_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    """Read rule texts. ConfigError for none, one that is no rule, or one given twice."""
    if not texts:
        what = "Which duplicates?"
        raise ConfigError(what, "--rule was not given", f"Choose from: {known_rules()}.")
    rules = tuple(map(read_rule, texts))
    for at, rule in enumerate(rules):
        if rule in rules[:at]:
            fix = "Give each rule once."
            raise ConfigError("A rule is given twice.", f"given: {' '.join(texts)}", fix)
    return rules


def read_rule(text: str) -> Rule:
    """Read one rule text. ConfigError for one that is none."""
    name, *values = text.strip().split(":")
    kind = NAMES.get(name)
    if kind is None:
        fix = did_you_mean(name, NAMES, f"Choose from: {known_rules()}.")
        raise ConfigError("There is no such rule.", f"given: {text}", fix)
    least, most = {"exact": (0, 0), "ngram": (1, 1), "jaccard": (1, 2)}[kind]
    try:
        if not least <= len(values) <= most:
            raise ValueError
        if kind == "exact":
            return Rule(kind=kind)
        ngram = int(values[-1]) if kind == "ngram" or len(values) == 2 else USUAL_NGRAM
        threshold = float(values[0]) if kind == "jaccard" else 1.0
        if ngram < 1 or not 0 < threshold <= 1:
            raise ValueError
    except ValueError:
        fix = f"Write {SYNTAX[kind]}, with N tokens (1 or more) and T above 0 and at most 1."
        fix = "Write exact, without a number." if kind == "exact" else fix
        raise ConfigError(f"The rule {name} is not complete.", f"given: {text}", fix) from None
    return Rule(kind=kind, ngram=ngram, threshold=threshold)


def known_rules() -> str:
    """The rules there are, as they are written."""
    return ", ".join(SYNTAX.values())


def check_rules(corpus: ShardSet, rules: Sequence[Rule]) -> None:
    """Check early that the rules can run: the index and the signature package exist."""
    for rule in rules:
        if rule.kind == "ngram":
            for shard in corpus.shards:
                open_index(shard)
        elif rule.kind == "jaccard":
            signature_maker()


def rule_spans(
    corpus: ShardSet, rule: Rule, keep: Keep, tell: Tell = lambda tokens: None
) -> pa.Table:
    """What a rule removes: document, start, end, copy_document, copy_start, rule.

    start, end: tokens from the document's first; sorted by document and start; the same for any
    number of shards. keep: "first" (in document order one copy stays) or "none". A document is no
    duplicate of itself, an empty one of nothing.
    """
    return RULES[rule.kind](corpus, rule, keep, tell)


def exact_spans(corpus: ShardSet, rule: Rule, keep: Keep, tell: Tell) -> pa.Table:
    """Whole documents that equal another."""
    copies_D = equal_copies(first_equals(corpus), keep)
    tell(corpus.tokens)
    return whole_documents(copies_D, document_lengths(corpus), rule)


def near_spans(corpus: ShardSet, rule: Rule, keep: Keep, tell: Tell) -> pa.Table:
    """Whole documents that are near-copies of another."""
    copies_D = near_copies(corpus, rule.threshold, rule.ngram, keep, tell)
    return whole_documents(copies_D, document_lengths(corpus), rule)


def ngram_spans(corpus: ShardSet, rule: Rule, keep: Keep, tell: Tell) -> pa.Table:
    """Find spans of n-grams that occur elsewhere too.

    Documents shorter than an n-gram are compared whole.
    """
    import pyarrow as pa

    lengths_D = document_lengths(corpus)
    done = 0

    def told(suffixes: int, of: int) -> None:
        nonlocal done
        tell(suffixes - done)
        done = suffixes

    spans = removal_spans(corpus, rule.ngram, keep, told).select(list(NUMBERS))
    named = spans.append_column("rule", pa.array([rule.text] * len(spans), pa.string()))
    copies_D = equal_copies(first_equals(corpus), keep)
    copies_D[lengths_D >= rule.ngram] = NONE
    short = whole_documents(copies_D, lengths_D, rule)
    return pa.concat_tables([named.cast(short.schema), short]).sort_by(
        [("document", "ascending"), ("start", "ascending")]
    )


RULES: Mapping[str, Callable[[ShardSet, Rule, Keep, Tell], pa.Table]] = {
    "exact": exact_spans,
    "ngram": ngram_spans,
    "jaccard": near_spans,
}
"""Kind of rule -> what it removes."""


def whole_documents(copies_D: Array, lengths_D: Array, rule: Rule) -> pa.Table:
    """Documents that go as copies (NONE: stays), as a table of spans."""
    import pyarrow as pa

    gone = np.flatnonzero(copies_D != NONE)
    zeros = np.zeros(len(gone), dtype=np.int64)
    columns = (gone, zeros, lengths_D[gone], copies_D[gone], zeros)
    numbers = [pa.array(column, pa.int64()) for column in columns]
    names = [*NUMBERS, "rule"]
    return pa.table([*numbers, pa.array([rule.text] * len(gone), pa.string())], names=names)
