"""The needed part of a response: up to the first place with a text of the user's."""

from __future__ import annotations

import logging
import string
from typing import TYPE_CHECKING

from stillage.errors import DataError

if TYPE_CHECKING:
    from stillage.data.split import Split

log = logging.getLogger("stillage")
IGNORED = string.punctuation + string.whitespace
"""Characters that make no answer: exact match passes over them."""


def needed_part(text: str, needed_until: str) -> str:
    """Cut a text after the first place with `needed_until`, if there is one."""
    end = text.find(needed_until)
    return text if end < 0 or not needed_until else text[: end + len(needed_until)]


def check_needed(split: Split, needed_until: str) -> None:
    """Refuse an end of the needed part that leaves all, or nothing, of responses.

    Raises DataError: asking only for what is needed would then ask for all, or for nothing. Where
    that is so of some responses, they are counted in the log. Nothing is checked for "".
    """
    if not needed_until:
        return
    records = [record for records in split.records_by_part.values() for record in records]
    responses = [record.response for record in records if record.response]
    having = [response for response in responses if needed_until in response]
    empty = sum(not response.partition(needed_until)[0].strip(IGNORED) for response in having)
    values = f"data.needed_until: {needed_until!r}; "
    values += f"responses: {len(responses)}, with it: {len(having)}"
    if responses and not having:
        what = "No response has the text that ends the needed part."
        fix = "Correct data.needed_until, or leave it out."
        raise DataError(what, values, fix)
    if having and empty == len(having):
        what = "The needed part of every response is empty."
        fix = "Choose another data.needed_until: the first place with it ends what is needed."
        raise DataError(what, f"{values}, with nothing before it: {empty}", fix)
    if lacking := len(responses) - len(having):
        message = "%d of %d responses lack %r: all of them is needed"
        log.warning(message, lacking, len(responses), needed_until)
    if empty:
        message = "%d responses have nothing before %r: no answer counts as right there"
        log.warning(message, empty, needed_until)
