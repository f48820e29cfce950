"""The needed part of a response: up to the first place with a text of the user's."""

from __future__ import annotations

import logging
import string
from typing import TYPE_CHECKING

from stillage.errors import DataError

if TYPE_CHECKING:
    from stillage.data.split import Split

log = logging.getLogger("stillage")
NOTHING = string.punctuation + string.whitespace
"""Characters that make no answer: exact match passes over them."""


def needed_part(text: str, needed_until: str) -> str:
    """The text up to the first place with `needed_until`, that included; all of it where there is none."""
    end = text.find(needed_until)
    return text if end < 0 or not needed_until else text[: end + len(needed_until)]


def check_needed(split: Split, needed_until: str) -> None:
    """Refuse an end of the needed part that no response has, or before which there is nothing.

    Nothing is checked for "". DataError: asking only for what is needed would then ask for all, or for nothing. Where that
    is so of some responses, they are counted aloud.
    """
    if not needed_until:
        return
    responses = [
        one.response
        for records in split.records_by_role.values()
        for one in records
        if one.response
    ]
    having = [response for response in responses if needed_until in response]
    empty = sum(not response.partition(needed_until)[0].strip(NOTHING) for response in having)
    values = (
        f"data.needed_until: {needed_until!r}; responses: {len(responses)}, with it: {len(having)}"
    )
    if responses and not having:
        raise DataError(
            "No response has the text that ends the needed part.",
            values,
            "Correct data.needed_until, or leave it out.",
        )
    if having and empty == len(having):
        raise DataError(
            "The needed part of every response is empty.",
            f"{values}, with nothing before it: {empty}",
            "Choose another data.needed_until: the first place with it ends what is needed.",
        )
    if len(having) < len(responses):
        log.warning(
            "%d of %d responses lack %r: all of them is needed",
            len(responses) - len(having),
            len(responses),
            needed_until,
        )
    if empty:
        log.warning(
            "%d responses have nothing before %r: no answer counts as right there",
            empty,
            needed_until,
        )
