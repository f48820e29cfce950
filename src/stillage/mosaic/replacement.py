"""Near-copies in which some tokens are replaced (A_replace).

All else stays in its place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stillage.errors import ConfigError, DataError
from stillage.mosaic.kinds import Replacement
from stillage.mosaic.replacement_candidates import Candidate, CandidateSource, Place, candidates_at
from stillage.mosaic.token_texts import round_trips
from stillage.rng import generator
from stillage.types import Array

MOST_TRIES = 16  # candidates of a place, for a text that encodes to the ids


@dataclass(frozen=True, slots=True)
class Order:
    """Places in the order in which they are taken, and how many of them."""

    places: Sequence[int]
    wanted: int


def replacements(
    source: CandidateSource, kind: Replacement, *, count: int
) -> list[list[list[int]]]:
    """Replace kind.replaced tokens of each canary: [canary][variation] ids.

    Places are drawn uniformly, without those that have no candidate; fewer are among those of more.
    The candidate of each is drawn uniformly, from a list of the unmodified canary. Where the text
    of a canary encodes to its ids, candidates with which the near-copy's does so too are preferred.
    With single tokens the Hamming distance is kind.replaced. ConfigError for more places than
    tokens; DataError, naming the canary, where too few have candidates. Source: mosaic memory
    (arXiv 2405.15523), A_replace, rebuilt left to right, so that no candidate of several tokens
    moves another.
    """
    for ids in source.ids_by_canary:
        check(kind, len(ids))
    orders = [
        [place_orders(kind, len(ids), source.seed, canary, number) for number in range(count)]
        for canary, ids in enumerate(source.ids_by_canary)
    ]
    known: dict[Place, list[Candidate]] = {}
    while True:
        chosen = [
            [first_usable(near, canary, known) for near in of_canary]
            for canary, of_canary in enumerate(orders)
        ]
        asked = {
            (canary, place)
            for canary, of_canary in enumerate(chosen)
            for places in of_canary
            for place in places
        }
        unknown = sorted(asked - known.keys())
        if not unknown:
            break
        known.update(zip(unknown, candidates_at(source, kind, unknown), strict=True))
    results = []
    for canary, of_canary in enumerate(chosen):
        ids = source.ids_by_canary[canary]
        keeps = round_trips(source.tokenizer, ids)
        near = []
        for number, places in enumerate(of_canary):
            if len(places) < kind.replaced:
                raise too_few_places(kind, canary, len(ids), known)
            options = {place: known[canary, place] for place in places}
            near.append(built(source, canary, number, options, keeps))
        results.append(near)
    return results


def check(kind: Replacement, length: int) -> None:
    """Refuse too many places for a canary, and a top_k without candidates."""
    if not 1 <= kind.replaced <= length:
        values = f"replaced: {kind.replaced}; tokens of a canary: {length}"
        raise ConfigError("So many tokens cannot be replaced.", values, f"Give 1 to {length}.")
    if kind.candidates == "masked" and kind.top_k < 1:
        values = f"top_k: {kind.top_k}"
        fix = "Give 1 or more; for any token candidates: vocabulary."
        raise ConfigError("The masked model proposes nothing.", values, fix)


def place_orders(
    kind: Replacement, length: int, seed: int, canary: int, variation: int
) -> list[Order]:
    """Draw the order in which places are taken: of all, or of each segment."""
    names = () if kind.places == "same" else (variation,)
    rng = generator(seed, "places", canary, *names)
    if not kind.spread:
        return [Order(rng.permutation(length).tolist(), kind.replaced)]
    segments = np.array_split(np.arange(length), kind.replaced)
    return [Order(rng.permutation(segment).tolist(), 1) for segment in segments]


def first_usable(
    orders: Sequence[Order], canary: int, known: Mapping[Place, list[Candidate]]
) -> list[int]:
    """The first places of each order that have candidates, or may have, ascending."""
    places: list[int] = []
    for order in orders:
        usable = [place for place in order.places if known.get((canary, place), True)]
        places += usable[: order.wanted]
    return sorted(places)


def too_few_places(
    kind: Replacement, canary: int, length: int, known: Mapping[Place, list[Candidate]]
) -> DataError:
    """The error that too few places of a canary have candidates."""
    empty = sorted(place for (of, place), found in known.items() if of == canary and not found)
    where = "in a segment " if kind.spread else ""
    values = (
        f"canary {canary}: {length} tokens, replaced: {kind.replaced}; "
        f"no candidate at {len(empty)} places, e.g. {empty[:8]}"
    )
    fix = "Raise top_k, replace fewer, or allow several tokens (single_token_only: false)."
    return DataError(f"Too few places {where}have a candidate.", values, fix)


def built(
    source: CandidateSource,
    canary: int,
    variation: int,
    options: Mapping[int, Sequence[Candidate]],
    keeps: bool,
) -> list[int]:
    """Draw a candidate for each place, and put them in, left to right.

    keeps: prefer those with which the text encodes to the ids.
    """
    ids = source.ids_by_canary[canary]
    share_T = generator(source.seed, "tokens", canary, variation).random(len(ids))
    first = {place: picked_number(share_T, place, few) for place, few in options.items()}
    drawn = {place: options[place][number] for place, number in first.items()}
    if not keeps or round_trips(source.tokenizer, put(ids, drawn)):
        return put(ids, drawn)
    chosen: dict[int, Candidate] = {}
    for place in sorted(options):
        for number in tries(source.seed, (canary, variation, place), first[place], options[place]):
            trial = chosen | {place: options[place][number]}
            if round_trips(source.tokenizer, put(ids, trial)):
                chosen = trial
                break
        else:  # none does: what follows cannot either
            return put(ids, drawn | chosen)
    return put(ids, chosen)


def picked_number(share_T: Array, place: int, options: Sequence[Candidate]) -> int:
    """The number of the candidate that a place's random share points at."""
    return int(share_T[place] * len(options))


def tries(
    seed: int, names: tuple[int, int, int], first: int, options: Sequence[Candidate]
) -> list[int]:
    """The first draw, then others in a random order."""
    others = generator(seed, "again", *names).permutation(len(options)).tolist()
    return [first, *(number for number in others if number != first)][:MOST_TRIES]


def put(ids: Sequence[int], instead: Mapping[int, Candidate]) -> list[int]:
    """Write candidates at their places, left to right.

    Each place counts in the unmodified ids.
    """
    assert all(0 <= place < len(ids) for place in instead)
    result: list[int] = []
    for place, token in enumerate(ids):
        result += instead.get(place, (token,))
    return result
