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
    """A text of a private record, or a place named after some.

    A mask wherever it is printed without `Sight`.
    """

    text: str

    def __str__(self) -> str:
        """The mask."""
        return MASK if self.text else ""

    __repr__ = __str__


def as_it_is(text: str) -> str:
    """The text."""
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Disclosure:
    """What a report shows: everything, or nothing private without the key.

    key: of the keyed names. free: masks a text that nobody vouches for (redact.Redactor).
    """

    shows_all: bool = False
    key: bytes = b""
    free: Callable[[str], str] = as_it_is

    def text(self, private: PrivateText) -> str:
        """A private text, or the mask."""
        return private.text if self.shows_all else str(private)

    def id(self, record_id: str) -> str:
        """Name a record: its id, or a keyed name that cannot be guessed."""
        return record_id if self.shows_all else self.keyed("record", record_id, 10)

    def digest(self, text: str) -> str:
        """Replace every hash in a text, which could confirm a guess, by a keyed one."""
        if self.shows_all:
            return text
        return DIGEST.sub(
            lambda found: (
                self.id(found[0]) if len(found[0]) == 16 else self.keyed("sha256", found[0])
            ),
            text,
        )

    def keyed(self, kind: str, text: str, digits: int = 16) -> str:
        """So many hexadecimal digits of the HMAC-SHA256 of a text under the run's key."""
        return hmac.new(self.key, f"{kind}\0{text}".encode(), hashlib.sha256).hexdigest()[:digits]


def run_key(run: Path) -> bytes:
    """Read the key of a run, `<run>/report.key`; made at random where there is none.

    For its owner's eyes.
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
