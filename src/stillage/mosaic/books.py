"""The documents of an experiment, and which of them hold canaries.

Documents stand in the order of their files' names, and of the rows in each: the order in which a
file system lists them decides nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.corpus.compressed import data_suffix
from stillage.corpus.rows import Row, Unusable, utf8_text
from stillage.corpus.sources import HubPart, Source, open_source
from stillage.errors import ConfigError, DataError, did_you_mean, listed
from stillage.mosaic.table_columns import BOOKS, table_schema
from stillage.mosaic.titles import check_titles, first_of_title, matching
from stillage.rng import generator
from stillage.run.folder import sha256_text

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

TITLE_COLUMNS = ("book_title", "title")
"""Where a title is looked for, in this order."""
HOST_COLUMN = "is_host"
"""Where a table says which documents hold canaries, as that of `stillage mosaic books` does."""
NAMED, MARKED, DRAWN = "by title", f"by the column {HOST_COLUMN}", "drawn"
"""How hosts were chosen."""
SHOWN = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BookRules:
    """Which documents are kept, and which of them hold canaries."""

    hosts: int = 1  # drawn, where there are no titles
    titles: tuple[str, ...] = ()
    text_column: str = "text"
    title_column: str = ""  # empty: TITLE_COLUMNS, else the file's name
    max_documents: int = 0  # hosts included; 0: all
    revision: str = ""  # commit of a hub id


@dataclass(frozen=True, slots=True, kw_only=True)
class Book:
    """A document."""

    title: str
    text: str
    is_host: bool | None = None  # as its row says; None: it does not


@dataclass(slots=True, kw_only=True)
class BookReading:
    """What has been read so far of a source."""

    rules: BookRules
    books: list[Book] = field(default_factory=list)
    named: frozenset[str] = frozenset()  # titles as `matching`
    documents: int = 0  # kept or not
    hashes: dict[str, str] = field(default_factory=dict)  # of a part -> sha256, or its commit

    @property
    def is_done(self) -> bool:
        """Whether nothing further can matter."""
        most = self.rules.max_documents
        return 0 < most <= self.documents and not self.named and not self.says_hosts

    @property
    def says_hosts(self) -> bool:
        """Whether the documents themselves say which of them are hosts, and are heard."""
        return not self.rules.titles and any(book.is_host is not None for book in self.books)

    def take(self, book: Book) -> None:
        """Keep a document that is among the first, or whose title is asked for."""
        self.documents += 1
        is_early = not self.rules.max_documents or len(self.books) < self.rules.max_documents
        is_marked = book.is_host is True and not self.rules.titles
        if is_early or is_marked or matching(book.title) in self.named:
            self.books.append(book)


def choose_books(
    source: str | Path,
    rules: BookRules,
    *,
    seed: int,
    progress: Callable[[Mapping[str, Any]], None] | None = None,
) -> pa.Table:
    """Read documents, and choose those that hold canaries: a table of BOOKS.

    source: as in `corpus.sources.open_source`; a .txt file is one document. Hosts are those of the
    titles: of each the first document with exactly that title, else the first whose title is the
    same but for white space, Unicode forms, quotation marks, dashes and misread UTF-8. Without
    titles, those whose rows have a true is_host, where rows have such a column; else they are drawn
    uniformly among the documents with any text. With max_documents, the hosts and the first others
    are kept. The metadata "books" (JSON) says what was read and chosen.

    Raises DataError for no or too few documents, a row that cannot be used, an absent column and
    titles that are not there; ConfigError for counts that cannot be.
    """
    check_book_rules(rules)
    reading = BookReading(rules=rules, named=frozenset(map(matching, rules.titles)))
    columns = () if rules.title_column else (rules.text_column, *TITLE_COLUMNS, HOST_COLUMN)
    hub = HubPart(revision=rules.revision)
    parts = open_source(source, hub, txt="document", stream=True, columns=columns)
    for part in parts:
        read_documents(reading, part, progress)
    if not reading.books:
        fix = "Give a folder of .txt files, a file of rows, or a hub id."
        raise DataError("There is no document.", f"{source}: 0 rows", fix)
    how, hosts = hosts_of(reading, seed, str(source))
    chosen = within_limit(len(reading.books), hosts, rules.max_documents)
    about = {
        "parts": reading.hashes,
        "unread": {name: rows for part in parts for name, rows in part.unread.items()},
        "text_column": rules.text_column,
        "title_column": rules.title_column,
        "documents_read": reading.documents,
        "empty": sum(not reading.books[place].text.strip() for place in chosen),
        "max_documents": rules.max_documents,
        "titles": list(rules.titles),
        "hosts": how,
        "seed": seed if how == DRAWN else None,
    }
    books = [reading.books[place] for place in chosen]
    return books_table(books, [place in hosts for place in chosen], about)


def hosts_of(reading: BookReading, seed: int, source: str) -> tuple[str, set[int]]:
    """Say how hosts are chosen, and return their places."""
    if reading.rules.titles:
        return NAMED, named_hosts(reading)
    if reading.says_hosts:
        return MARKED, marked_hosts(reading, source)
    return DRAWN, drawn_hosts(reading, seed, source)


def check_book_rules(rules: BookRules) -> None:
    """Raise ConfigError for counts that cannot be, and titles given twice."""
    hosts = len(rules.titles) if rules.titles else rules.hosts
    if hosts < 1 or rules.max_documents < 0:
        values = f"hosts: {hosts}; max_documents: {rules.max_documents}"
        raise ConfigError("The number of documents cannot be.", values, "hosts is 1 or more.")
    if 0 < rules.max_documents < hosts:
        values = f"hosts: {hosts}; max_documents: {rules.max_documents}"
        raise ConfigError(
            "More hosts than documents are asked for.", values, "Raise max_documents."
        )
    check_titles(rules.titles)


def read_documents(
    reading: BookReading, part: Source, progress: Callable[[Mapping[str, Any]], None] | None
) -> None:
    """Read the documents of a file; blank lines are none."""
    reading.hashes[part.name] = part.sha256
    for row in part.rows:
        if reading.is_done:
            return
        if row.is_blank:
            continue
        reading.take(book_of(row, reading.rules))
        if progress is not None:
            progress({"doing": "{} documents read", "done": reading.documents})


def book_of(row: Row, rules: BookRules) -> Book:
    """A row as a document. DataError where it has no text."""
    place = f"{row.file}, line {row.line}"
    if row.value is None:
        raise DataError("A document cannot be read.", f"{place}: {row.reason}", "Mend that line.")
    asked = [rules.text_column]
    if data_suffix(Path(row.file)) == ".txt":
        asked, title = ["text"], row.file.removesuffix(Path(row.file).suffix)
        title = title.removesuffix(".txt")  # of .txt.gz
    else:
        column = rules.title_column or next((c for c in TITLE_COLUMNS if c in row.value), "")
        asked += [column] * bool(column)
        title = f"{row.file}:{row.line}"
    if absent := [name for name in asked if name not in row.value]:
        values = f"{place} has: {', '.join(map(str, row.value))}; asked: {', '.join(absent)}"
        fix = "Name it: text_column and title_column."
        raise DataError("The documents have no such column.", values, fix)
    try:
        text = utf8_text(row.value[asked[0]], asked[0])
        named = utf8_text(row.value[asked[1]], asked[1]) if len(asked) > 1 else ""
    except Unusable as error:
        raise DataError("A document is no text.", f"{place}: {error}", "Mend that row.") from error
    mark = row.value.get(HOST_COLUMN)
    return Book(title=named or title, text=text, is_host=mark if isinstance(mark, bool) else None)


def drawn_hosts(reading: BookReading, seed: int, source: str) -> set[int]:
    """Draw the places of the hosts among the documents with any text."""
    places = [place for place, book in enumerate(reading.books) if book.text.strip()]
    hosts = reading.rules.hosts
    if len(places) < hosts:
        values = f"{source}: {len(places)} with any text; hosts: {hosts}"
        raise DataError("There are fewer documents than hosts.", values, "Lower hosts.")
    drawn = generator(seed, "books", "hosts").choice(len(places), hosts, replace=False)
    return {places[int(k)] for k in drawn}


def named_hosts(reading: BookReading) -> set[int]:
    """Find the places of the documents that titles name.

    DataError for those that none has.
    """
    titles, known = reading.rules.titles, [book.title for book in reading.books]
    found = [first_of_title(title, known) for title in titles]
    if absent := [title for title, place in zip(titles, found, strict=True) if place is None]:
        near = [did_you_mean(title, known, "") for title in absent[:SHOWN]]
        names = [f"{t!r}" + f" ({n})" * bool(n) for t, n in zip(absent, near, strict=False)]
        names += [repr(title) for title in absent[SHOWN:]]
        what = f"{len(absent)} of {len(titles)} titles are not among the documents."
        values = f"{reading.documents} documents; absent: {listed(names, SHOWN)}"
        fix = "Correct the titles, or name the column that holds them: title_column."
        raise DataError(what, values, fix)
    places = {place for place in found if place is not None}
    refuse_empty(reading, places, "Leave the title out, or mend the document.")
    return places


def marked_hosts(reading: BookReading, source: str) -> set[int]:
    """Find the places of the documents whose rows say that they hold canaries.

    DataError for none, an empty one, and more than are to be kept.
    """
    places = {place for place, book in enumerate(reading.books) if book.is_host}
    most = reading.rules.max_documents
    if not places or 0 < most < len(places):
        values = f"{source}: {len(places)} of {reading.documents}; max_documents: {most}"
        fix = f"Change the column {HOST_COLUMN} or max_documents, or name the hosts: titles."
        raise DataError(f"The documents that {HOST_COLUMN} marks cannot be the hosts.", values, fix)
    refuse_empty(reading, places, f"Unmark it in the column {HOST_COLUMN}, or mend the document.")
    return places


def refuse_empty(reading: BookReading, places: set[int], fix: str) -> None:
    """Raise DataError where a host has no text."""
    books = [reading.books[place] for place in sorted(places)]
    if empty := [book.title for book in books if not book.text.strip()]:
        raise DataError("A document that is to hold canaries is empty.", listed(empty, SHOWN), fix)


def within_limit(documents: int, hosts: set[int], most: int) -> list[int]:
    """List the places of all hosts, and of the first others up to the limit.

    In order; limit 0: none.
    """
    others = [place for place in range(documents) if place not in hosts]
    return sorted([*hosts, *(others[: most - len(hosts)] if most else others)])


def books_table(
    books: Sequence[Book], is_host: Sequence[bool], about: Mapping[str, Any]
) -> pa.Table:
    """Make the table of BOOKS, with what made it as metadata."""
    import pyarrow as pa

    columns: dict[str, Sequence[Any]] = {
        "document": range(len(books)),
        "title": [book.title for book in books],
        "text": [book.text for book in books],
        "sha256": [sha256_text(book.text) for book in books],
        "is_host": is_host,
    }
    facts = {"books": json.dumps(about, sort_keys=True, ensure_ascii=False)}
    kinds = table_schema(BOOKS)
    arrays = [pa.array(columns[name], kinds.field(name).type) for name in BOOKS]
    return pa.Table.from_arrays(arrays, schema=kinds.with_metadata(facts))
