"""`stillage mosaic books SOURCE OUT`: documents, and which of them hold canaries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stillage.errors import ConfigError

NAMES = ("SOURCE", "OUT.parquet")
SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class BooksFlags:
    """What `books SOURCE OUT` takes besides."""

    hosts: int = 1
    """How many documents are to hold canaries, drawn by the seed among those with text. Not where a
    column is_host says which: a table that this wrote keeps its hosts."""
    titles: str = ""
    """Those that are to, instead: a text file with a title a line, or `published`: the 100 books of
    the published study. Empty: the rows whose is_host is true, where there is such a column."""
    seed: int = 1
    """Decides the draw."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    text_column: str = "text"
    """Column of the text, where documents are rows."""
    title_column: str = ""
    """Column of the title; empty: book_title or title, where there is one. A file's is its name."""
    max_documents: int = 0
    """Keep so many documents at most: those that hold canaries, and the first others; 0: all."""


SETTINGS = BooksFlags


def main(paths: list[str], chosen: BooksFlags) -> int:
    """Choose the documents, write them, and say which are to hold canaries."""
    from stillage.cli.board import Board
    from stillage.cli.stoppable import stoppable
    from stillage.mosaic.books import DRAWN, BookRules, choose_books
    from stillage.mosaic.titles import read_titles
    from stillage.run.folder import write_with_metadata
    from stillage.run.stop import watch_signals

    source, out = paths[0], table_path(paths[1], "books")
    rules = BookRules(
        hosts=chosen.hosts,
        titles=read_titles(chosen.titles),
        text_column=chosen.text_column,
        title_column=chosen.title_column,
        max_documents=chosen.max_documents,
        revision=chosen.revision,
    )
    with watch_signals() as stop, Board() as board:
        tell = partial(stoppable(board, stop), "books")
        table = choose_books(source, rules, seed=chosen.seed, progress=tell)
        write_with_metadata(out, table)
    books = zip(table["title"].to_pylist(), table["is_host"].to_pylist(), strict=True)
    hosts = [title for title, is_host in books if is_host]
    about = json.loads(table.schema.metadata[b"books"])
    how = f"drawn by seed {chosen.seed}" if about["hosts"] == DRAWN else about["hosts"]
    empty = f" ({about['empty']} without text)" if about["empty"] else ""
    print(f"{table.num_rows} documents{empty}, of which {len(hosts)} are to hold canaries ({how}):")
    print("\n".join(f"  {title}" for title in hosts[:SHOWN]))
    if len(hosts) > SHOWN:
        print(f"  and {len(hosts) - SHOWN} more")
    print(f"written: {out}")
    return 0


def table_path(given: str, kind: str) -> Path:
    """The place of a table; a table of the same kind there is written anew.

    kind: the key of its metadata. ConfigError for another name, and where anything else lies there.
    """
    out = Path(given)
    if out.suffix != ".parquet":
        fix = f"Name it e.g. {out.with_suffix('.parquet')}."
        raise ConfigError("The output is a table.", f"given: {given}", fix)
    if out.exists() and not is_table_of(out, kind):
        what = f"There is something else where the {kind} are to be written."
        raise ConfigError(what, f"given: {given}", "Give another name, or remove it.")
    return out


def is_table_of(path: Path, kind: str) -> bool:
    """Tell whether a file is a table that has this kind of metadata."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return kind.encode() in (pq.read_schema(path).metadata or {})
    except (pa.ArrowInvalid, OSError):
        return False
