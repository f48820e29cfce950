"""First fit: many lengths into as few bins as come of it."""

from __future__ import annotations

from collections.abc import Sequence

from stillage.errors import ConfigError


def first_fit(lengths: Sequence[int], capacity: int) -> list[int]:
    """Choose for each length in turn the first bin with room for it, in O(n log n)."""
    if any(length > capacity for length in lengths):
        values = f"{max(lengths)} > {capacity}"
        raise ConfigError("A length exceeds the capacity.", values, "Raise the capacity.")
    leaves = 1 << max(0, len(lengths) - 1).bit_length()
    room = [capacity] * (2 * leaves)
    chosen: list[int] = []
    for length in lengths:
        node = 1
        while node < leaves:
            node = 2 * node if room[2 * node] >= length else 2 * node + 1
        chosen.append(node - leaves)
        room[node] -= length
        while node > 1:
            node //= 2
            room[node] = max(room[2 * node], room[2 * node + 1])
    return chosen
