"""Find what two sets share: exact copies, near-duplicates, longest shared pieces.

The smaller set is held in memory and indexed, the larger is read past it once. Every finding is
exact: copies by their whole normal forms, pieces word for word; near-duplicates as in an audit
(`families`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from stillage.corpus.compared import Document, Names, Tokens, Units
from stillage.corpus.families import families
from stillage.corpus.grams import N_WORDS
from stillage.corpus.near_copies import common_limit
from stillage.corpus.shared_pieces import PieceIndex, Shared, concatenated
from stillage.errors import ConfigError, DataError
from stillage.types import Array

BATCH_DOCUMENTS = 1024
BATCH_SIZE = 1_000_000  # characters or tokens, whichever is reached first
SIDES = ("A", "B")
NONE = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class SideFindings:
    """Findings on one side's D documents; -1: no document of the other side.

    Lengths and places in words (tokens). The longest piece is the first of its length in the
    document, with the first place on the other side.
    """

    names: Names
    is_empty_D: Array  # bool: nothing to compare
    words_D: Array
    longest_D: Array  # of the longest piece shared with a document of the other side; 0: none
    start_D: Array  # where it begins
    other_D: Array  # the document of the other side
    other_start_D: Array  # where it begins there
    covered_D: Array  # words in shared pieces of at least `piece`
    exact_D: Array  # the first exact copy on the other side
    near_D: Array  # a near-duplicate on the other side, directly or through others


@dataclass(frozen=True, slots=True, kw_only=True)
class InCommon:
    """What two sets have in common."""

    sides: tuple[SideFindings, SideFindings]  # of A and B
    piece: int
    unit: str  # words, tokens
    smaller: int  # which side was indexed, 0 or 1
    words_of_small: Callable[[int], Sequence[str]] = field(repr=False)  # of its document

    def shared_piece(self, side: int, number: int) -> str:
        """The longest piece that a document shares, its words in their normal form."""
        found = self.sides[side]
        is_own = side == self.smaller
        document = number if is_own else int(found.other_D[number])
        start = int((found.start_D if is_own else found.other_start_D)[number])
        return " ".join(self.words_of_small(document)[start : start + int(found.longest_D[number])])


def compare_sets(
    a: Iterable[Document],
    b: Iterable[Document],
    *,
    units: Units,
    piece: int,
    progress: Callable[[Document], None] = lambda document: None,
) -> InCommon:
    """Find what two sets have in common.

    piece: words (tokens) in a row that count as shared. progress is called with each document read.
    Memory: the smaller side (its texts, and about 130 bytes a word), the texts of the larger that
    share two 5-grams with it, and about 150 bytes a document. DataError for a side without
    documents; ConfigError for a piece below 1.
    """
    if piece < 1:
        raise ConfigError("A piece has no words.", f"piece: {piece}", "Give 1 or more.")
    sides = (iter(a), iter(b))
    smaller, heads = _read_evenly(sides, progress)
    indexed = _index(heads[smaller], units, piece)
    streamed = _stream(heads[1 - smaller], sides[1 - smaller], indexed, progress)
    shared = indexed.index.finish()
    offsets_D = np.cumsum(np.append(0, streamed.words_D))
    places = (_place(shared.place_D, offsets_D), _place(streamed.shared.place_D, indexed.offsets_D))
    near = _near_copies(indexed, shared, streamed, places)
    exact_D = [streamed.first_copy.get(one, NONE) for one in indexed.form_D.tolist()]
    own = _found(indexed.names, np.diff(indexed.offsets_D), shared, places[0])
    own = replace(own, is_empty_D=indexed.form_D == NONE, exact_D=np.array(exact_D), near_D=near[0])
    other = _found(streamed.names, streamed.words_D, streamed.shared, places[1])
    other = replace(other, is_empty_D=streamed.is_empty_D, exact_D=streamed.exact_D, near_D=near[1])
    return InCommon(
        sides=(own, other) if smaller == 0 else (other, own),
        piece=piece,
        unit="tokens" if isinstance(units, Tokens) else "words",
        words_of_small=lambda number: units.names(indexed.forms[number]),
        smaller=smaller,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Indexed:
    """The smaller side."""

    units: Units
    names: Names
    contents: list[str | Array]
    forms: list[str | bytes]
    number_of: dict[str | bytes, int]  # a form -> its number
    form_D: Array  # the number of each document's form; -1: empty
    first_D: Array  # the first document of each form; -1 behind them
    offsets_D: Array
    index: PieceIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class _Streamed:
    """The larger side, once it is read."""

    names: Names
    is_empty_D: Array
    words_D: Array
    exact_D: Array
    shared: Shared
    first_copy: dict[int, int]  # the number of a form -> the first document that has it
    candidates: dict[int, str | Array]  # document -> content, of those that may be near-duplicates


def _read_evenly(
    sides: tuple[Iterator[Document], Iterator[Document]], progress: Callable[[Document], None]
) -> tuple[int, tuple[list[Document], list[Document]]]:
    """Read both sides until one ends: the smaller; which, and what was read of each."""
    heads: tuple[list[Document], list[Document]] = ([], [])
    sizes = [0, 0]
    while True:
        side = int(sizes[1] < sizes[0])
        document = next(sides[side], None)
        if document is None and heads[side]:
            return side, heads
        if document is None:
            raise _no_documents(side)
        progress(document)
        heads[side].append(document)
        sizes[side] += len(document.content) + 1


def _index(documents: Sequence[Document], units: Units, piece: int) -> _Indexed:
    """Index the smaller side."""
    names, number_of = Names(), dict[str | bytes, int]()
    forms = [units.form(document.content) for document in documents]
    for document in documents:
        names.add(document)
    form_D = [number_of.setdefault(one, len(number_of)) if one else NONE for one in forms]
    first = dict[int, int]()
    for place, number in enumerate(form_D):
        first.setdefault(number, place)
    symbols_T, offsets_D = _joined([units.learn(one) for one in forms])
    return _Indexed(
        units=units,
        names=names,
        contents=[document.content for document in documents],
        forms=forms,
        number_of=number_of,
        form_D=np.array(form_D, dtype=np.int64),
        first_D=np.array([*map(first.get, range(len(number_of))), NONE], dtype=np.int64),
        offsets_D=offsets_D,
        index=PieceIndex(symbols_T, offsets_D, least=piece, gram=N_WORDS),
    )


def _stream(
    head: Sequence[Document],
    rest: Iterator[Document],
    indexed: _Indexed,
    progress: Callable[[Document], None],
) -> _Streamed:
    """Read the larger side past the index. head: what was read of it already."""
    names, first_copy, candidates = Names(), dict[int, int](), dict[int, str | Array]()
    empty, copies, words, found = array("b"), array("q"), array("q"), list[Shared]()
    for batch in _batches(chain(head, _told(rest, progress))):
        start = len(names)
        forms = [indexed.units.form(document.content) for document in batch]
        symbols_T, offsets_D = _joined([indexed.units.look_up(form) for form in forms])
        shared, words_D = indexed.index.read(symbols_T, offsets_D), np.diff(offsets_D)
        for place, (document, form) in enumerate(zip(batch, forms, strict=True)):
            number = indexed.number_of.get(form, NONE) if form else NONE
            names.add(document)
            empty.append(not form)
            copies.append(number)
            if number != NONE:
                first_copy.setdefault(number, start + place)
        for place in np.flatnonzero(may_be_near(shared.grams_D, words_D)).tolist():
            candidates[start + place] = batch[place].content
        words.extend(words_D.tolist())
        found.append(shared)
    return _Streamed(
        names=names,
        is_empty_D=np.array(empty, dtype=bool),
        words_D=np.array(words, dtype=np.int64),
        exact_D=indexed.first_D[np.array(copies, dtype=np.int64)],
        shared=concatenated(found),
        first_copy=first_copy,
        candidates=candidates,
    )


def may_be_near(grams_D: Array, words_D: Array) -> Array:
    """Tell which documents share enough 5-grams to be near-duplicates, bool[D].

    Two (`families` asks for more of all but the shortest); one, where there are two or fewer.
    """
    return grams_D >= np.where(words_D < N_WORDS + 2, 1, 2)


def _near_copies(
    indexed: _Indexed, shared: Shared, streamed: _Streamed, places: tuple[Placed, Placed]
) -> tuple[Array, Array]:
    """The near-duplicates of each side's documents on the other, int64[D] each; -1: none.

    That with the longest shared piece, if it is one; else the first.
    """
    units, words_D = indexed.units, np.diff(indexed.offsets_D)
    own = np.flatnonzero(may_be_near(shared.grams_D, words_D))
    other = np.array(list(streamed.candidates), dtype=np.int64)
    contents = chain(
        (indexed.contents[place] for place in own.tolist()), streamed.candidates.values()
    )
    count = len(indexed.names) + len(streamed.names)
    texts = [units.text(content) for content in contents]
    number_N = families(texts, common_limit(count)).number_N if texts else np.zeros(0, np.int64)
    own_N, other_N = number_N[: own.size], number_N[own.size :]
    family_D = np.full(len(indexed.names), NONE, dtype=np.int64)
    other_family_D = np.full(len(streamed.names), NONE, dtype=np.int64)
    family_D[own], other_family_D[other] = own_N, other_N
    return (
        _partners(family_D, other_family_D, places[0].document_D),
        _partners(other_family_D, family_D, places[1].document_D),
    )


def _partners(family_D: Array, others_D: Array, preferred_D: Array) -> Array:
    """For each document, one of its family on the other side; -1: none.

    family_D, others_D: the families of both sides, -1 for none. preferred_D: who is taken where it
    is of the family.
    """
    numbers, first = np.unique(others_D, return_index=True)
    place = np.minimum(np.searchsorted(numbers, family_D), numbers.size - 1)
    near_D = np.where((numbers[place] == family_D) & (family_D != NONE), first[place], NONE)
    is_one = (preferred_D != NONE) & (near_D != NONE) & (others_D[preferred_D] == family_D)
    return np.where(is_one, preferred_D, near_D)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """A place in all words of a side, as a document and a place in it; -1: none."""

    document_D: Array
    start_D: Array


def _place(place_D: Array, offsets_D: Array) -> Placed:
    """Find the documents of places."""
    document_D = np.searchsorted(offsets_D, place_D, side="right") - 1
    start_D = place_D - offsets_D[np.maximum(document_D, 0)]
    none = place_D == NONE
    return Placed(
        document_D=np.where(none, NONE, document_D), start_D=np.where(none, NONE, start_D)
    )


def _found(names: Names, words_D: Array, shared: Shared, placed: Placed) -> SideFindings:
    """What the index found of a side; copies are filled in by the caller."""
    none_D = np.full(len(names), NONE, dtype=np.int64)
    return SideFindings(
        names=names,
        is_empty_D=words_D == 0,
        words_D=words_D,
        longest_D=shared.longest_D,
        start_D=shared.start_D,
        other_D=placed.document_D,
        other_start_D=placed.start_D,
        covered_D=shared.covered_D,
        exact_D=none_D,
        near_D=none_D,
    )


def _joined(symbols: Sequence[Array]) -> tuple[Array, Array]:
    """Symbols of several documents one after the other, and where each begins."""
    sizes = np.array([0, *map(len, symbols)], dtype=np.int64)
    return np.concatenate([np.zeros(0, dtype=np.int64), *symbols]), np.cumsum(sizes)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    """Cut documents into batches of BATCH_DOCUMENTS or BATCH_SIZE."""
    batch, size = list[Document](), 0
    for document in documents:
        batch.append(document)
        size += len(document.content)
        if len(batch) == BATCH_DOCUMENTS or size >= BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _told(
    documents: Iterator[Document], progress: Callable[[Document], None]
) -> Iterator[Document]:
    """Tell of each document as it is read."""
    for document in documents:
        progress(document)
        yield document


def _no_documents(side: int) -> DataError:
    """The error for a side that holds nothing."""
    what = f"{SIDES[side]}, the {('first', 'second')[side]} of the two sets, holds no document."
    return DataError(what, "documents: 0", "Check its path and what wrote it.")
