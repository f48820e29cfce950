"""Cut what an attack compares about one record to the characters all replies read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from stillage.audit.queries import Reply
from stillage.functional.readings import in_common, text_read
from stillage.types import Attack, TokenStats, Transform

GROUPS: tuple[frozenset[Transform], ...] = (
    frozenset(("as_is", "lowercase", "nonmember_prefix", "member_prefix", "noise", "neighbours")),
    frozenset(("needed",)),
)
"""Replies about the same characters of a record; those of one group are compared."""


def alike(attack: Attack, replies: Sequence[Reply]) -> list[Reply] | None:
    """Return the replies cut to what all models read; None where they do not compare.

    They do not where readings have no characters in common, or follow unlike parts of the prompt,
    and where the text that was read is empty. A lone reading without a text stays as it is.
    """
    asked: list[Transform] = [query.transform for query in attack.queries]
    cut, text_of = list(replies), None
    for group in GROUPS:
        places = [place for place, name in enumerate(asked) if name in group]
        readings = [one for place in places for one in readings_in(replies[place])]
        if not readings or (len(readings) == 1 and "text" not in asked):
            continue
        common = in_common(readings)
        if common is None:
            return None
        text_of, rest = text_of or common[0], iter(common)
        for place in places:
            own = [next(rest) for _ in readings_in(replies[place])]
            cut[place] = own[0] if isinstance(replies[place], TokenStats) else own
    for place, name in enumerate(asked):
        if name == "text" and text_of is not None and replies[place]:
            cut[place] = text_read(text_of.span, cast("str", replies[place]))
            if not cut[place]:
                return None
    return cut


def readings_in(reply: Reply) -> list[TokenStats]:
    """The readings in a reply."""
    return [reply] if isinstance(reply, TokenStats) else list(cast("Sequence[TokenStats]", reply))
