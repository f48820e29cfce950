"""Near-copies with random tokens between pieces, or pieces apart (A_insert)."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.errors import ConfigError
from stillage.mosaic.kinds import Insertion, Scatter
from stillage.rng import generator
from stillage.types import Array


def inserted(
    ids_by_canary: Sequence[Sequence[int]],
    kind: Insertion,
    *,
    count: int,
    seed: int,
    others: Array,
) -> list[list[list[int]]]:
    """Insert kind.inserted random tokens between all pieces of kind.piece tokens.

    others: int64[W], the ids that are drawn from, uniformly and with replacement, anew for each gap
    and near-copy; fewer tokens in a gap are the first of more. Returns [canary][variation] ids, of
    length m + inserted * (ceil(m / piece) - 1). ConfigError where there is nothing to insert or no
    gap. Source: mosaic memory (arXiv 2405.15523), A_insert.
    """
    if kind.inserted < 1:
        values = f"inserted: {kind.inserted}"
        raise ConfigError("Nothing is inserted between the pieces.", values, "Give 1 or more.")
    results: list[list[list[int]]] = []
    for canary, ids in enumerate(ids_by_canary):
        parts = pieces(ids, kind.piece)
        near: list[list[int]] = []
        for variation in range(count):
            rng = generator(seed, "inserted", canary, variation)
            drawn_XG = others[rng.integers(len(others), size=(kind.inserted, len(parts) - 1))]
            gaps = drawn_XG.T.tolist()
            near.append(
                [
                    token
                    for part, gap in zip(parts, [*gaps, []], strict=True)
                    for token in (*part, *gap)
                ]
            )
        results.append(near)
    return results


def scattered(
    ids_by_canary: Sequence[Sequence[int]], kind: Scatter, *, count: int
) -> list[list[list[list[int]]]]:
    """Cut each canary in pieces of kind.piece tokens: [canary][variation][piece] ids.

    All near-copies are the same pieces, to be put at places of their own. ConfigError where a piece
    is a whole canary.
    """
    return [[pieces(ids, kind.piece) for _ in range(count)] for ids in ids_by_canary]


def pieces(ids: Sequence[int], size: int) -> list[list[int]]:
    """Cut ids in pieces of `size`, the last as short as it comes.

    ConfigError for fewer than 2.
    """
    if size < 1 or size >= len(ids):
        what = "The canary cannot be cut in such pieces."
        values = f"piece: {size} tokens; canary: {len(ids)}"
        raise ConfigError(what, values, f"Give a piece of 1 to {max(1, len(ids) - 1)} tokens.")
    return [list(ids[start : start + size]) for start in range(0, len(ids), size)]
