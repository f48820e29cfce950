"""What several readings of a record have in common: the same characters.

Limits on tokens cut a record at another place under another tokenizer, in another context or in
lower case. What compares readings, or divides by a text's size, uses what all of them read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import reduce

import numpy as np

from stillage.types import END, Array, Span, TokenStats

ARRAYS = tuple(entry.name for entry in fields(TokenStats) if entry.name != "span")


def in_common(readings: Sequence[TokenStats]) -> list[TokenStats] | None:
    """Cut readings to the characters that all of them read; None where there are none.

    From one token's border to another's. None too where they read the response after unlike parts
    of its prompt. A reading alone loses the last tokens of a character that was cut. Readings whose
    span is not known count as whole: they are given back unless others are cut.
    """
    spans = [one.span for one in readings if one.span is not None]
    if not spans:
        return list(readings)
    if len({span.left_out for span in spans}) > 1:
        return None
    shared = reduce(np.intersect1d, [span.bounds_N for span in spans])
    if len(shared) < 2 or (len(spans) < len(readings) and shared[-1] != END):
        return None
    return [
        one if one.span is None else tokens_between(one, one.span, int(shared[0]), int(shared[-1]))
        for one in readings
    ]


def tokens_between(stats: TokenStats, span: Span, start: int, stop: int) -> TokenStats:
    """Cut statistics to the tokens from one bound of the span to another."""
    first, last = np.searchsorted(span.bounds_N, [start, stop]).tolist()
    if (first, last) == (0, len(stats.ids_T)):
        return stats
    kept = {name: getattr(stats, name)[first:last] for name in ARRAYS}
    return replace(stats, **kept, span=replace(span, bounds_N=span.bounds_N[first : last + 1]))


def first_tokens(stats: TokenStats, count: int) -> TokenStats:
    """Cut statistics to the first tokens."""
    kept = {name: getattr(stats, name)[:count] for name in ARRAYS}
    span = stats.span and replace(stats.span, bounds_N=stats.span.bounds_N[: count + 1])
    return replace(stats, **kept, span=span)


def to_the_end(stats: TokenStats) -> bool:
    """Tell whether the response was read to its end."""
    return stats.span is None or int(stats.span.bounds_N[-1]) == END


def text_read(span: Span | None, text: str) -> str:
    """Return the characters of a response that the scored tokens stand for."""
    if span is None:
        return text
    return text[max(0, int(span.bounds_N[0])) : max(0, int(span.bounds_N[-1]))]


def moved(span: Span, places_N: Array) -> Span:
    """Express a span in the characters of another text.

    places_N [characters + 1]: where each place of this text is in the other; -1: nowhere. A token's
    border that stands nowhere is passed over: the next token has the characters of both.
    """
    inside = (span.bounds_N > 0) & (span.bounds_N < END)
    bounds_N = span.bounds_N.copy()
    bounds_N[inside] = np.asarray(places_N)[np.minimum(span.bounds_N[inside], len(places_N) - 1)]
    lost = bounds_N[1:] < 0
    bounds_N[1:] = np.maximum.accumulate(np.where(lost, bounds_N[0], bounds_N[1:]))
    return replace(span, bounds_N=bounds_N)
