"""`stillage mosaic ACTION ...`: the worth of near-copies in training data."""

from __future__ import annotations

from stillage.cli import mosaic_run
from stillage.cli.actions import actions_help, do_action

USAGE = """usage: stillage mosaic ACTION ...

{actions}

stillage mosaic ACTION --help shows the settings of one."""

RUN = "run"  # takes a config as `stillage run` does
ACTIONS = {
    "books": "SOURCE OUT.parquet: documents, and which of them are to hold canaries",
    "canaries": "MODEL OUT.parquet: texts that a model writes, to be injected or kept apart",
    RUN: "CONFIG [--experiments NAME ...]: train, attack and say what near-copies are worth",
}
"""Action -> what it takes and does, as in `cli/actions.py`."""


def help_text(verb: str, words: list[str]) -> str:
    """Return how the actions are called, or one action and its settings."""
    if words[:1] == [RUN]:
        return mosaic_run.help_text(words[1:])
    return actions_help(verb, words, ACTIONS, USAGE)


def main(verb: str, words: list[str]) -> int:
    """Do one action. words: what follows `mosaic`."""
    if words[:1] == [RUN]:
        return mosaic_run.main(verb, words[1:])
    return do_action(verb, words, ACTIONS, USAGE)
