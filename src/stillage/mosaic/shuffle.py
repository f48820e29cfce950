"""Near-copies whose pieces stand in another order, exactly tau away (A_shuffle).

Kendall's distance is the number of token pairs in the other order. Pieces keep their order inside,
so that two pieces of n tokens in the other order are n^2 pairs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from stillage.errors import ConfigError
from stillage.mosaic.kinds import Shuffle
from stillage.rng import generator

MOST_PIECES = 200  # the table of counts grows with the third power


def shuffled_variations(
    ids_by_canary: Sequence[Sequence[int]], kind: Shuffle, *, count: int, seed: int
) -> list[list[list[int]]]:
    """Put the pieces of each canary in another order: [canary][variation] ids.

    The order is drawn uniformly among those with exactly D = round(tau m (m - 1) / (2 n^2)) pairs
    of pieces in the other order, so that the realised tau is within half a pair of pieces of the
    target. A last piece shorter than n stays at the end. The near-copies of a canary have different
    orders, as far as there are so many. ConfigError for a tau out of reach; it names the largest.
    Source: mosaic memory (arXiv 2405.15523), A_shuffle, which draws by rejection.
    """
    results = []
    for canary, ids in enumerate(ids_by_canary):
        n = kind.piece
        swaps = inversions_for(kind.tau, n, len(ids))
        groups, rest = len(ids) // n, list(ids[len(ids) // n * n :])
        orders = different_orders(groups, swaps, count, generator(seed, "shuffle", canary))
        results.append(
            [
                [token for k in order for token in ids[k * n : (k + 1) * n]] + rest
                for order in orders
            ]
        )
    return results


def inversions_for(tau: float, piece: int, length: int) -> int:
    """Count the pairs of pieces in the other order that come nearest to tau.

    ConfigError for a piece that leaves fewer than two, for more than MOST_PIECES, and for a tau
    that no order of the pieces reaches.
    """
    groups = length // piece if piece > 0 else 0
    if not 2 <= groups <= MOST_PIECES:
        values = f"piece: {piece} tokens; canary: {length}; pieces: {groups}"
        fix = f"Give a piece that cuts a canary in 2 to {MOST_PIECES}."
        raise ConfigError("Such pieces cannot be shuffled.", values, fix)
    pairs, most = length * (length - 1) / 2, groups * (groups - 1) // 2
    swaps = round(tau * pairs / piece**2) if math.isfinite(tau) else -1
    if not 1 <= swaps <= most:
        what = "No order of the pieces is that far from the canary's."
        values = f"tau: {tau:g}; pieces: {groups} of {piece} tokens"
        lowest, highest = piece**2 / pairs, most * piece**2 / pairs
        fix = f"Reachable: {lowest:.4g} (one pair) to {highest:.4g} (all reversed)."
        raise ConfigError(what, values, fix)
    return swaps


def kendall(order: Sequence[int]) -> int:
    """Count the pairs of a permutation that stand in the other order."""
    places = np.asarray(order)
    return int(np.triu(places[:, None] > places[None, :], 1).sum())


def different_orders(
    items: int, inversions: int, count: int, rng: np.random.Generator
) -> list[tuple[int, ...]]:
    """Draw different permutations with exactly so many inversions, uniformly.

    Where fewer exist than asked for, each occurs before any occurs again.
    """
    exist = inversion_counts(items, inversions)[items][inversions]
    ranks: list[int] = []
    seen: set[int] = set()
    while len(ranks) < count:
        rank = below(exist, rng)
        if rank not in seen:
            ranks.append(rank)
            seen.add(rank)
        if len(seen) == exist:
            seen.clear()
    return [permutation(rank, items, inversions) for rank in ranks]


def permutation(rank: int, items: int, inversions: int) -> tuple[int, ...]:
    """Make the permutation of a rank among those with so many inversions.

    A bijection of 0 .. counts - 1: the Lehmer codes (at each place how many later items are
    smaller) of sum `inversions`, in lexicographic order.
    """
    table, left, rest = inversion_counts(items, inversions), list(range(items)), inversions
    assert 0 <= rank < table[items][inversions]
    order: list[int] = []
    for after in reversed(range(items)):
        for smaller in range(min(after, rest) + 1):
            ways = table[after][rest - smaller] if rest - smaller < len(table[after]) else 0
            if rank < ways:
                break
            rank -= ways
        else:
            raise AssertionError("the rank is below the number of permutations")
        order.append(left.pop(smaller))
        rest -= smaller
    return tuple(order)


@lru_cache(maxsize=4)
def inversion_counts(items: int, inversions: int) -> tuple[tuple[int, ...], ...]:
    """Count permutations of 0..items by inversions (Mahonian numbers): [k][d], exact.

    Row k ends with its largest number of inversions, or with `inversions`.
    """
    rows = [(1,)]
    for k in range(1, items + 1):
        before, row, window = rows[-1], [], 0
        for d in range(min(inversions, k * (k - 1) // 2) + 1):
            window += before[d] if d < len(before) else 0
            window -= before[d - k] if d >= k else 0
            row.append(window)
        rows.append(tuple(row))
    return tuple(rows)


def below(limit: int, rng: np.random.Generator) -> int:
    """Draw a whole number from 0 to limit - 1, of any size, uniformly."""
    bits = max(1, (limit - 1).bit_length())
    while True:
        number = int.from_bytes(rng.bytes((bits + 7) // 8), "little") & ((1 << bits) - 1)
        if number < limit:
            return number
