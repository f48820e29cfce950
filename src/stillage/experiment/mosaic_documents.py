"""The documents of a mosaic run: which files they are, and that they can be read."""

from __future__ import annotations

from pathlib import Path

from stillage.corpus.sources import (
    HUB_ID,
    SAVED,
    HubPart,
    check_format,
    folder_and_part,
    is_data,
    is_pattern,
    open_source,
)
from stillage.errors import ConfigError, DataError
from stillage.models.outside import hashed, outside_folder
from stillage.mosaic.titles import check_titles, read_titles
from stillage.run.config import Config
from stillage.run.folder import list_files


def outside_documents(source: str) -> dict[str, str]:
    """Hash the local files that are read as documents; nothing for a hub id."""
    folder, _ = folder_and_part(source)
    is_plain = folder.is_dir() and not any((folder / name).exists() for name in SAVED)
    return hashed(documents_below(folder)) if is_plain else outside_folder(source)


def documents_below(folder: Path) -> list[Path]:
    """List the files of a folder that are documents, or rows of them; none is hidden."""
    return [
        path
        for path in list_files(folder)
        if is_data(path, "document")
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]


def check_documents(config: Config) -> None:
    """Refuse documents that are not there or cannot be read, and a bad list of titles.

    By their names alone: ConfigError for none, DataError for those.
    """
    books = config.mosaic.books
    if not books:
        raise ConfigError(
            "A mosaic run needs documents that hold the canaries.",
            "mosaic.books: none",
            "Give --mosaic.books a folder of texts, a file of rows or a hub id.",
        )
    path, _ = folder_and_part(books)
    if path.is_file():
        check_format(path, "document")
    elif not path.is_dir() and not is_pattern(books) and not HUB_ID.fullmatch(books):
        raise DataError("There are no documents.", f"not there: {books}", "Check the path.")
    elif not path.is_dir():  # nothing is fetched yet
        open_source(books, HubPart(revision=config.mosaic.books_revision), txt="document")
    elif not documents_below(path) and not any((path / name).exists() for name in SAVED):
        found = ", ".join(sorted(one.name for one in path.iterdir())[:5]) or "nothing"
        fix = "Give a folder of .txt, .jsonl or .parquet files."
        raise DataError("The folder holds no documents.", f"mosaic.books: {books}: {found}", fix)
    check_titles(read_titles(config.mosaic.titles))
