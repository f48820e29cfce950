"""`stillage corpus ACTION ...`: what is in a corpus of text or tokens."""

from __future__ import annotations

from stillage.cli.actions import actions_help, do_action

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
"""Action -> what it takes and does, as in `cli/actions.py`."""


def help_text(verb: str, words: list[str]) -> str:
    """Return how the actions are called, or one action and its settings."""
    return actions_help(verb, words, ACTIONS, USAGE)


def main(verb: str, words: list[str]) -> int:
    """Do one action. words: what follows `corpus`."""
    return do_action(verb, words, ACTIONS, USAGE)
