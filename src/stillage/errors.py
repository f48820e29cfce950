"""Errors a user can fix, printed as three lines without a traceback.

What happened, the values, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """Suggest the nearest known word; where none is near, give the other advice."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"Did you mean {near[0]}?" if near else otherwise


class UserError(Exception):
    """Something the user can put right.

    The command line prints its three lines and exits with `exit_code` (2).
    """

    exit_code = 2

    def __init__(self, what: str, values: str = "", fix: str = "") -> None:
        """Take what happened (one sentence), the values that clashed, and what to do."""
        super().__init__(what, values, fix)  # all three: it may cross into another process
        self.what, self.values, self.fix = what, values, fix

    def __str__(self) -> str:
        """The non-empty lines, as shown to the user."""
        return "\n".join(line for line in (self.what, self.values, self.fix) if line)


class ConfigError(UserError):
    """A setting is unknown, misspelt or contradicts another."""


class DataError(UserError):
    """An input file or record cannot be used."""


class ModelError(UserError):
    """A model or tokenizer cannot be loaded, or does not fit its partner."""


class CheckpointError(UserError):
    """A checkpoint does not belong to this run, or is damaged."""


class CapabilityError(UserError):
    """The method or attack needs something that is not there."""


class Interrupted(UserError):
    """The run stopped before its end; the same command continues it (exit 75).

    75 is EX_TEMPFAIL.
    """

    exit_code = 75


def listed(entries: Sequence[str], most: int = 8) -> str:
    """Join the first few, and say how many more there are."""
    more = len(entries) - most
    return "; ".join(entries[:most]) + (f"; and {more} more" if more > 0 else "")


def first_line(error: BaseException) -> str:
    """Give an error's first line, with the next where it only announces that.

    The error's kind where it has no words.
    """
    lines = [line.strip() for line in str(error).strip().splitlines()] or [type(error).__name__]
    return " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
