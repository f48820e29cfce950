"""The words before a command's flags, the folders they name, and columns of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from stillage.errors import ConfigError
from stillage.run.parse import typed

Settings = TypeVar("Settings")


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """What a command takes that has folders alone."""


def split_at_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command's words before its first flag."""
    first = next((at for at, word in enumerate(words) if word.startswith("-")), len(words))
    return list(words[:first]), list(words[first:])


def read_paths(
    prog: str, words: Sequence[str], names: Sequence[str], kind: type[Settings]
) -> tuple[list[str], Settings]:
    """Return the words before the flags, one for each name, and the flags' settings.

    ConfigError for too few or too many; a name in brackets may be absent, and one that ends in
    `...` stands for one word or more.
    """
    given, flags = split_at_flags(words)
    needed = [name for name in names if not name.startswith("[")]
    usage = " ".join([prog, *names])
    is_open = any(name.endswith("...") for name in names)
    if len(given) < len(needed) or (len(given) > len(names) and not is_open):
        what = f"{prog.split()[-1]} takes {' and '.join(names) or 'no words'}."
        raise ConfigError(what, f"given: {' '.join(given) or 'nothing'}", usage)
    return given, typed(kind, flags, prog)


def aligned_lines(rows: Sequence[Sequence[str]]) -> list[str]:
    """Pad columns to equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
