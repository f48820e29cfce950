"""`stillage mosaic run CONFIG`: experiments on what near-copies are worth."""

from __future__ import annotations

from collections.abc import Sequence

NAMES_FLAG, STAGES_FLAG = "--experiments", "--stages"


def run_words(words: Sequence[str]) -> list[str]:
    """Return the words of `stillage run` that mean the same.

    --experiments stands for --mosaic.experiments, and the only stage is mosaic.
    """
    long = [f"--mosaic.{word[2:]}" if word.split("=")[0] == NAMES_FLAG else word for word in words]
    asks = any(word.split("=")[0] == STAGES_FLAG for word in long)
    return long if asks else [*long, STAGES_FLAG, "mosaic"]


def main(verb: str, words: Sequence[str]) -> int:
    """Run a config's experiments, continued if stopped; the exit code."""
    from stillage.cli import runs

    return runs.main("run", run_words(words))


def help_text(words: Sequence[str]) -> str:
    """Return the settings of a mosaic run."""
    from stillage.cli.help import MOSAIC, plan_help

    return plan_help(MOSAIC, run_words(words))
