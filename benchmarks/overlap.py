"""Overlap of two sets beside the usual script: a Python set of word n-grams of one side, met by those of the other; same run.

    python -P benchmarks/overlap.py [--documents 100000] [--words 300] [--items 1000] [--item-words 60] [--overlap 0.05]

-P: numba would else take the folder `coverage` beside this file for the package of that name. Documents are drawn from a Zipf
law (exponent 1.07, 50,000 words); a share of the items has 20 words in a row of some document.
The script says which items share an 8-gram; ours also the longest piece, both names, the words covered on both sides, and
near-duplicates. The script runs twice: with words of normal forms, as ours, and with `lower().split()`, which misses what is
written otherwise. Checks that all name the same items. Prints JSON: seconds of one core, and ours over the script's.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np

from stillage.corpus.compared import Document, Words
from stillage.corpus.in_common import compare_sets
from stillage.functional.words import compared_form, words_of
from stillage.rng import generator

PIECE = 8
COPIED = 20  # words in a row
VOCABULARY, EXPONENT = 50_000, 1.07


class Made:
    """Documents and items, made again each time they are read: nothing is held."""

    def __init__(self, given: argparse.Namespace) -> None:
        """given: the command's numbers."""
        self.given = given
        rank = np.arange(1, VOCABULARY + 1)
        self.below = np.cumsum(1 / rank**EXPONENT)
        self.below /= self.below[-1]
        self.vocabulary = [f"w{number:x}" for number in range(VOCABULARY)]
        count = int(given.overlap * given.items)
        drawn = generator(1, "overlap", "from").choice(given.documents, count, replace=False)
        self.source = dict(zip(drawn.tolist(), range(count), strict=True))  # document -> item
        self.pieces = {
            item: self.words("document", document, given.words)[:COPIED]
            for document, item in self.source.items()
        }

    def words(self, kind: str, number: int, count: int) -> list[str]:
        """Words of one document."""
        drawn = generator(1, "overlap", kind, str(number)).random(count)
        places = np.minimum(np.searchsorted(self.below, drawn), VOCABULARY - 1)
        return [self.vocabulary[place] for place in places.tolist()]

    def documents(self) -> Iterator[str]:
        """The larger side."""
        for number in range(self.given.documents):
            yield " ".join(self.words("document", number, self.given.words)).capitalize() + "."

    def items(self) -> Iterator[str]:
        """The smaller side."""
        for number in range(self.given.items):
            own = self.words("item", number, self.given.item_words)
            yield " ".join([*own, *self.pieces.get(number, [])])


def normal_words(text: str) -> list[str]:
    """Words as ours are."""
    return words_of(compared_form(text))


def plain_words(text: str) -> list[str]:
    """Words as a script has them that does not care about writing."""
    return text.lower().replace(".", "").split()


def script(documents: list[str], items: list[str], cut: Callable[[str], list[str]]) -> set[int]:
    """The script: which items share an 8-gram with a document."""

    def grams(text: str) -> Iterator[tuple[str, ...]]:
        words = cut(text)
        return zip(*(words[start:] for start in range(PIECE)), strict=False)

    holders: dict[tuple[str, ...], set[int]] = {}
    for number, item in enumerate(items):
        for gram in grams(item):
            holders.setdefault(gram, set()).add(number)
    found = set[int]()
    for document in documents:
        for gram in grams(document):
            if gram in holders:
                found |= holders[gram]
    return found


def ours(documents: list[str], items: list[str]) -> tuple[set[int], int]:
    """Ours: which items share a piece, and how many have a near-duplicate."""

    def named(texts: list[str], name: str) -> Iterator[Document]:
        return (Document(content=text, source=name, line=at) for at, text in enumerate(texts, 1))

    common = compare_sets(
        named(documents, "documents"), named(items, "items"), units=Words(), piece=PIECE
    )
    found = common.sides[1]
    shared = np.flatnonzero(found.longest_D >= PIECE)
    return set(shared.tolist()), int((found.near_D >= 0).sum())


def main() -> None:
    """Both, one after the other."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--documents", type=int, default=100_000)
    parser.add_argument("--words", type=int, default=300)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--item-words", type=int, default=60)
    parser.add_argument("--overlap", type=float, default=0.05)
    given = parser.parse_args()
    made = Made(given)
    documents, items = list(made.documents()), list(made.items())
    ours(documents[:2], items[:2])  # compiles
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    shared, near = ours(documents, items)
    ours_s, peak = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    script_s = dict[str, float]()
    for cut in (normal_words, plain_words):
        start = time.process_time()
        assert script(documents, items, cut) == shared
        script_s[cut.__name__] = time.process_time() - start
    result = vars(given) | {
        "items that share a piece": len(shared),
        "near-duplicates": near,
        "ours, s": round(ours_s, 2),
        **{f"script with {name}, s": round(spent, 2) for name, spent in script_s.items()},
        **{f"ours over {name}": round(ours_s / spent, 2) for name, spent in script_s.items()},
        "words/s": round(given.documents * given.words / ours_s),
        "memory beyond the texts, MiB": round((peak - held) / 1024),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
