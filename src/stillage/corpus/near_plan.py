"""How targets are looked for: their tables, and the filter that costs least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stillage.corpus.count_filter import GROUP, CountFilter, candidates, count_filter
from stillage.corpus.distance_kinds import Metric, Mode
from stillage.corpus.near_kernels import fill_slots
from stillage.corpus.seed_filter import SeedFilter, seed_filter, seeds_found
from stillage.types import Array

SHARES = (1, 2, 4)
"""Thresholds t that the planner tries: m - k, all that can be asked for, and parts of it."""
MIN_SEED = 2  # tokens of a piece; single tokens are better counted
LARGEST_TABLE = 1 << 20  # of ids; beyond, tokens are numbered by search
SAMPLE = 1 << 16  # tokens on which filters are compared

# nanoseconds on one core of 2023, for choosing alone: no result depends on them
TOKEN_NS, WORD_NS, CANDIDATE_NS, SEED_TOKEN_NS = 3.0, 1.4, 400.0, 4.0

Tables = tuple[Array, Array, Array, Array, Array]
"""Of N targets of m tokens with at most L distinct ones, what `near_kernels` reads: a hash table of
each target's tokens (ids uint32 [N, S]; their numbers 1 and up, 0 where a slot is free [N, S]), how
often each occurs ([N, L + 1]), where (bits, uint64 [N, L + 1, words]), and the target as numbers
([N, m])."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NearPlan:
    """All that a search needs of its targets."""

    targets_NM: Array  # uint32, as `own_ids`
    known_U: Array | None  # ids of all targets, sorted, where the largest is too large for a table
    max_distance: int
    metric: Metric
    mode: Mode
    tables: Tables
    backwards: Tables | None  # of the targets read from their ends, where a piece begins anywhere
    counters: tuple[CountFilter, ...]  # one for every GROUP targets; or
    seeds: SeedFilter | None  # else neither: every place is measured

    @property
    def longest(self) -> int:
        """Tokens of the longest piece of text that may be near a target."""
        length = self.targets_NM.shape[1]
        return length if self.mode == "window" else length + self.max_distance

    def own_ids(self, ids_T: Array) -> Array:
        """Number token ids, uint32, as the plan's targets are.

        As they are, or from 1 (0: in no target) where a table of all ids would be too large.
        """
        return ids_T if self.known_U is None else _own_ids(ids_T, self.known_U)

    def summary(self) -> str:
        """One line: how the text is filtered."""
        if self.seeds is not None:
            return f"seeds of {self.seeds.size} tokens"
        if self.counters:
            return f"counting filter, {len(self.counters)} group(s) of targets"
        return "no filter: the limit allows every place"


def near_plan(
    targets_NM: Array, max_distance: int, metric: Metric, mode: Mode, sample_T: Array
) -> NearPlan:
    """Choose how targets are looked for in text like the sample.

    targets_NM, sample_T: uint32. What is found does not depend on the choice.
    """
    known_U = np.unique(targets_NM)
    if known_U[-1] < LARGEST_TABLE:
        known_U = None
    else:
        targets_NM, sample_T = _own_ids(targets_NM, known_U), _own_ids(sample_T, known_U)
    distinct, counts = np.unique(sample_T, return_counts=True)
    frequency_NM = np.zeros(targets_NM.shape)
    if len(distinct):
        at = np.minimum(np.searchsorted(distinct, targets_NM), len(distinct) - 1)
        known = distinct[at] == targets_NM
        frequency_NM[known] = counts[at[known]] / len(sample_T)
    counters, counting = _counters(targets_NM, frequency_NM, max_distance, sample_T[:SAMPLE])
    seeds = None
    if targets_NM.shape[1] // (max_distance + 1) >= MIN_SEED:
        seeds = seed_filter(targets_NM, max_distance + 1, frequency_NM)
        if seeding_ns(seeds, sample_T[:SAMPLE]) < counting:
            counters = ()
        else:
            seeds = None
    return NearPlan(
        targets_NM=targets_NM,
        known_U=known_U,
        max_distance=max_distance,
        metric=metric,
        mode=mode,
        tables=tables_of_targets(targets_NM),
        backwards=tables_of_targets(targets_NM[:, ::-1]) if mode == "substring" else None,
        counters=counters,
        seeds=seeds,
    )


def _own_ids(ids: Array, known_U: Array) -> Array:
    """Number ids 1 and up, in the order of the known ones; 0: unknown."""
    place = np.minimum(np.searchsorted(known_U, ids), len(known_U) - 1)
    return np.where(known_U[place] == ids, place + 1, 0).astype(np.uint32)


def _counters(
    targets_NM: Array, frequency_NM: Array, max_distance: int, sample_T: Array
) -> tuple[tuple[CountFilter, ...], float]:
    """The counters with the threshold that costs least, and their cost, ns a token.

    None, at infinite cost, where the limit allows every place.
    """
    length = targets_NM.shape[1]

    def group(at: int, need: int) -> CountFilter:
        part = slice(at, at + GROUP)
        chosen = rarest_tokens(targets_NM[part], frequency_NM[part], max_distance + need)
        return count_filter(chosen, np.full(len(chosen), need), length=length)

    groups = range(0, len(targets_NM), GROUP)
    most = length - max_distance
    needs = sorted({max(1, most // share) for share in SHARES}) if most > 0 else []
    costs = {need: counting_ns(group(0, need), sample_T) for need in needs}
    if not costs:
        return (), np.inf
    best = min(costs, key=lambda need: costs[need])
    return tuple(group(at, best) for at in groups), costs[best] * len(groups)


def rarest_tokens(targets_NM: Array, frequency_NM: Array, count: int) -> list[Array]:
    """The tokens at the `count` rarest positions of each target."""
    order_NM = np.argsort(frequency_NM, axis=1, kind="stable")[:, :count]
    return list(np.take_along_axis(targets_NM, order_NM, axis=1))


def counting_ns(counters: CountFilter, sample_T: Array) -> float:
    """Guess the nanoseconds a token that counting costs, candidates included."""
    if not len(sample_T):
        return 0.0
    found = len(candidates(sample_T, counters)[0]) / len(sample_T)
    return TOKEN_NS + WORD_NS * counters.rows_RW.shape[1] + found * CANDIDATE_NS


def seeding_ns(seeds: SeedFilter, sample_T: Array) -> float:
    """Guess the nanoseconds a token that seeds cost, candidates included."""
    if not len(sample_T):
        return 0.0
    return SEED_TOKEN_NS + 2 * CANDIDATE_NS * len(seeds_found(sample_T, seeds)[0]) / len(sample_T)


def tables_of_targets(targets_NM: Array) -> Tables:
    """Make the tables that `near_kernels` reads."""
    targets, length = targets_NM.shape
    distinct = [np.unique(row, return_inverse=True) for row in targets_NM]
    most = max(len(tokens) for tokens, _ in distinct)
    slots = 1 << int(np.ceil(np.log2(2 * most)))
    words = max(2, -(-length // 64))
    keys_NS = np.zeros((targets, slots), dtype=np.uint32)
    local_NS = np.zeros((targets, slots), dtype=np.uint32)
    needs_NL = np.zeros((targets, most + 1), dtype=np.int32)
    masks_NLW = np.zeros((targets, most + 1, words), dtype=np.uint64)
    numbers_NM = np.zeros((targets, length), dtype=np.uint32)
    bits_M = np.uint64(1) << (np.arange(length, dtype=np.uint64) % np.uint64(64))
    for target, (tokens, number_M) in enumerate(distinct):
        numbers_NM[target] = number_M + 1
        needs_NL[target, 1 : len(tokens) + 1] = np.bincount(number_M)
        np.bitwise_or.at(masks_NLW[target], (number_M + 1, np.arange(length) // 64), bits_M)
        fill_slots(keys_NS[target], local_NS[target], tokens)
    return keys_NS, local_NS, needs_NL, masks_NLW, numbers_NM
