"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence


def print_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    """A table, after an empty line."""
    print("\n| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for line in lines:
        print("| " + " | ".join(line) + " |")
