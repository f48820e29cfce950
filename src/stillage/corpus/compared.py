"""Documents, and the words or token ids that they are compared by."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Protocol

import numpy as np

from stillage.corpus.shared_pieces import NOT_THERE
from stillage.functional.words import compared_form, words_in
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A document of a set, and where it stands: a text, or the ids of its tokens."""

    content: str | Array
    source: str  # the file
    line: int  # of the file, from 1
    id: str = ""  # the user's name for it, if it has one


class Units(Protocol):
    """What documents are compared by, and its numbers."""

    def form(self, content: str | Array) -> str | bytes:
        """What two contents are equal by; empty: there is nothing to compare."""
        ...

    def learn(self, form: str | bytes) -> Array:
        """The numbers of an indexed document, int64."""
        ...

    def look_up(self, form: str | bytes) -> Array:
        """The numbers of another document; NOT_THERE for what was never learned."""
        ...

    def names(self, form: str | bytes) -> Sequence[str]:
        """The words, or the ids of the tokens in digits."""
        ...

    def text(self, content: str | Array) -> str:
        """A content as a text, for the search for near-duplicates."""
        ...


@dataclass(frozen=True, slots=True)
class Words:
    """Compares texts by the words of their normal forms (`compared_form`).

    In scripts without spaces a word is one character.
    """

    numbers: dict[str, int] = field(default_factory=dict)

    def form(self, content: str | Array) -> str | bytes:
        """The normal form of a text."""
        assert isinstance(content, str)
        return compared_form(content)

    def learn(self, form: str | bytes) -> Array:
        """Number new words as they come."""
        known = self.numbers
        return np.array([known.setdefault(word, len(known)) for word in self.names(form)], np.int64)

    def look_up(self, form: str | bytes) -> Array:
        """The numbers of known words."""
        words = self.names(form)
        numbers = map(self.numbers.get, words, repeat(NOT_THERE))
        return np.fromiter(numbers, np.int64, len(words))

    def names(self, form: str | bytes) -> Sequence[str]:
        """The words."""
        assert isinstance(form, str)
        return words_in(form)

    def text(self, content: str | Array) -> str:
        """The text itself."""
        assert isinstance(content, str)
        return content


@dataclass(frozen=True, slots=True)
class Tokens:
    """Ids of tokens, as they are."""

    def form(self, content: str | Array) -> str | bytes:
        """The ids as bytes."""
        return np.asarray(content).astype("<u4").tobytes()

    def learn(self, form: str | bytes) -> Array:
        """The ids themselves."""
        assert isinstance(form, bytes)
        return np.frombuffer(form, dtype="<u4").astype(np.int64)

    look_up = learn

    def names(self, form: str | bytes) -> Sequence[str]:
        """The ids in digits."""
        return list(map(str, self.learn(form).tolist()))

    def text(self, content: str | Array) -> str:
        """The ids as words."""
        return " ".join(self.names(self.form(content)))


@dataclass(slots=True, kw_only=True)
class Names:
    """The names of many documents, in order."""

    ids: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    lines: array[int] = field(default_factory=lambda: array("q"))

    def add(self, document: Document) -> None:
        """Keep the name of one more."""
        self.ids.append(document.id)
        self.sources.append(document.source)
        self.lines.append(document.line)

    def __len__(self) -> int:
        """How many documents."""
        return len(self.ids)
