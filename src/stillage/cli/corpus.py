"""`stillage corpus ACTION ...`: what is in a corpus of text or tokens."""

from __future__ import annotations

import errno
import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from stillage.cli.paths import read_paths
from stillage.errors import ConfigError, DataError, did_you_mean

USAGE = """usage: stillage corpus ACTION ...

{actions}

stillage corpus ACTION --help shows the settings of one."""

ACTIONS = {
    "tokenize": (
        "SRC... OUT: documents as token shards (.jsonl, .parquet, .txt, folders; .gz, .zst)"
    ),
    "index": "SHARDS: suffix array of every shard, for count, repeats and targets",
    "count": "SHARDS --tokens IDS | --text T: how often a sequence occurs, and where",
    "repeats": "SHARDS --length L: everything that occurs twice and more",
    "targets": "SHARDS --counts N... --length L --out F: sequences by how often they occur",
    "scan": (
        "SHARDS --targets F --max-distance K --out DIR: near-duplicates of targets, all of them"
    ),
    "policy": "SCAN --rule R: what of the near-duplicates a deduplication leaves",
    "dedup": "SHARDS --rule R --out DIR: keep one copy, or none; says what went and why",
    "overlap": "A B: what two data sets have in common [--drop-from A --out DIR]",
    "report": "DIR: near-duplicates by distance, with intervals and figures",
}
"""Action -> what it takes and does; `corpus_<action>.py` beside this file does it.

A module has NAMES (the places it takes), SETTINGS (the class of its flags) and main(paths, chosen),
which returns the exit code.
"""


def help_text(verb: str, words: list[str]) -> str:
    """Return how the actions are called, or one action and its settings."""
    if not words or words[0] not in ACTIONS:
        lines = (f"  {action:<9} {text}" for action, text in ACTIONS.items())
        return USAGE.format(actions="\n".join(lines))
    from stillage.cli.help import settings_help

    module = importlib.import_module(f"stillage.cli.corpus_{words[0]}")
    usage = f"usage: stillage {verb} {words[0]} {' '.join(module.NAMES)} [settings]"
    return settings_help(usage, module.SETTINGS(), words)


def main(verb: str, words: list[str]) -> int:
    """Do one action. words: what follows `corpus`."""
    if not words:
        print(help_text(verb, words))
        return 0
    action, rest = words[0], words[1:]
    if action not in ACTIONS:
        fix = did_you_mean(action, ACTIONS, f"Choose from: {', '.join(ACTIONS)}.")
        raise ConfigError("There is no such action on a corpus.", f"given: {action}", fix)
    module = importlib.import_module(f"stillage.cli.corpus_{action}")
    with reachable():
        return module.main(
            *read_paths(f"stillage {verb} {action}", rest, module.NAMES, module.SETTINGS)
        )


REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS)
WRONG_KIND = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)


@contextmanager
def reachable() -> Iterator[None]:
    """Say in three lines where the system refuses a place, e.g. a read-only one."""
    try:
        yield
    except OSError as error:
        if error.errno not in (*REFUSED, *WRONG_KIND):
            raise
        values = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
        fix = "Check the path and its permissions, or name another place."
        raise DataError("A place cannot be read or written.", values, fix) from error
