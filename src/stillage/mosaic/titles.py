"""Titles of documents: lists of them, and which title means which document."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

from stillage import presets
from stillage.errors import ConfigError, DataError, listed

PUBLISHED = "published"
"""The name of the published study's list."""
TABLE = Path(presets.__file__).with_name("mosaic_books.json")
ALIKE = str.maketrans(
    {**dict.fromkeys("‘’‚‛′", "'"), **dict.fromkeys("“”„‟″", '"'), **dict.fromkeys("‐‑‒–—―−", "-")}
)
"""Marks that one catalogue writes so, and another so."""


def published_titles() -> tuple[str, ...]:
    """Return the titles of the 100 books of the published study (Shilov et al. 2024).

    They are rows of the data set `imperial-cpg/project-gutenberg-extended`.
    """
    return tuple(json.loads(TABLE.read_text(encoding="utf-8"))["titles"])


def read_titles(titles: str) -> tuple[str, ...]:
    """Read a list of titles: `published`, or a text file with one a line; "" is none.

    Raises DataError where the file is not there, not text, or holds none.
    """
    if not titles:
        return ()
    if titles == PUBLISHED:
        return published_titles()
    fix = f"Give a text file with a title a line, or `{PUBLISHED}`."
    try:
        text = Path(titles).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise DataError("The list of titles cannot be read.", f"{titles}: {why}", fix) from error
    found = tuple(line.strip() for line in text.split("\n") if line.strip())
    if not found:
        raise DataError("The list holds no titles.", titles, fix)
    return found


def check_titles(titles: Sequence[str]) -> None:
    """Raise ConfigError for a title that is given twice.

    It can name one document alone.
    """
    first: dict[str, str] = {}
    twice = [
        f"{first[alike]!r} and {title!r}"
        for title in titles
        if first.setdefault(alike := matching(title), title) is not title
    ]
    if twice:
        raise ConfigError("Titles are given twice.", listed(twice, 3), "Give each of them once.")


def first_of_title(title: str, known: Sequence[str]) -> int | None:
    """Find the first document exactly so called, else the first alike.

    None where there is none.
    """
    if title in known:
        return known.index(title)
    alike = matching(title)
    return next((place for place, other in enumerate(known) if matching(other) == alike), None)


def matching(title: str) -> str:
    """What is equal for titles that mean the same, however they were stored.

    UTF-8 that was read as Latin-1 or Windows-1252 is read again; then NFKC, one kind of quotation
    mark and of dash, and single spaces.
    """
    text = unicodedata.normalize("NFKC", read_again(title)).translate(ALIKE)
    return " ".join(text.split())


def read_again(text: str) -> str:
    """Undo a misreading of UTF-8, where the text is one; else it as it is."""
    try:
        return b"".join(map(one_byte, text)).decode("utf-8")
    except UnicodeError:
        return text


def one_byte(character: str) -> bytes:
    """The byte that Windows-1252 shows so, or Latin-1. UnicodeEncodeError for none."""
    try:
        return character.encode("cp1252")
    except UnicodeEncodeError:
        return character.encode("latin-1")
