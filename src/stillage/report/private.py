"""What of a run is private, and what may be said of it without its folder."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stillage.errors import DataError
from stillage.run.folder import atomic

MASK = "████"
KEY_FILE = "report.key"
NAMES_FILE = "report.names.json"
"""Beside `report/`: what the numbers of groups and the short names of records stand for."""
DIGEST = re.compile(r"\b(?:[0-9a-f]{64}|[0-9a-f]{16})\b")
"""A sha256, or the id of a record: 16 digits of one."""


@dataclass(frozen=True, slots=True)
class PrivateText:
    """A text of a private record: a mask wherever no `Disclosure` prints it."""

    text: str

    def __str__(self) -> str:
        """Print the mask."""
        return MASK if self.text else ""

    __repr__ = __str__


def as_it_is(text: str) -> str:
    """Show a text as it is."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """What a report shows: everything, or nothing private without the key."""

    shows_all: bool = False
    key: bytes = b""  # of the keyed names
    free: Callable[[str], str] = as_it_is  # masks a text that nobody vouches for (redact.Redactor)

    def text(self, private: PrivateText) -> str:
        """Show a private text, or the mask."""
        return private.text if self.shows_all else str(private)

    def id(self, record_id: str) -> str:
        """Name a record: its id, or a keyed name that cannot be guessed."""
        return record_id if self.shows_all else self.keyed("record", record_id, 10)

    def digest(self, text: str) -> str:
        """Replace every hash in a text, which could confirm a guess, by a keyed one."""
        if self.shows_all:
            return text

        def named(found: re.Match[str]) -> str:
            return self.id(found[0]) if len(found[0]) == 16 else self.keyed("sha256", found[0])

        return DIGEST.sub(named, text)

    def keyed(self, kind: str, text: str, digits: int = 16) -> str:
        """Take so many hexadecimal digits of a text's HMAC-SHA256 under the run's key."""
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:digits]


def run_key(run: Path) -> bytes:
    """Read the key of a run, `<run>/report.key`; made at random where none is.

    DataError where the file is no key.
    """
    path = run / KEY_FILE
    if not path.exists():
        write_secret(path, secrets.token_hex(32) + "\n")
    key = path.read_text(encoding="utf-8").strip()
    if not re.fullmatch(r"[0-9a-f]{64}", key):
        raise DataError(
            f"{path} holds no key.",
            f"{len(key)} characters instead of 64 hexadecimal digits",
            "Put the file back; or remove it: a new key is made, and with it other short names of "
            "records.",
        )
    return bytes.fromhex(key)


def write_secret(path: Path, text: str) -> None:
    """Write a text file atomically that only its owner may read."""
    with atomic(path) as temporary:
        number = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(number, "w", encoding="utf-8") as file:
            file.write(text)
