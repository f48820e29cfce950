"""Every place of a text within a distance of a target, none missed.

A filter with a proof (`count_filter`, `seed_filter`) leaves regions; the distance of each place in
these is measured. What is found does not depend on the filter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, get_args

import numpy as np

from stillage.corpus.distance_kinds import METRICS, Metric, Mode, metric_bits
from stillage.corpus.token_file import check_offsets
from stillage.errors import ConfigError, DataError, did_you_mean
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.corpus.near_plan import NearPlan

BATCH = 1 << 19  # tokens looked through at a time
SAMPLE_PIECES, SAMPLE_TOKENS = 64, 1 << 19  # of the text, to choose a filter by
PENDING = 1 << 20  # hits kept before overlaps among them are suppressed
ROOM = 1 << 16  # hits of a batch; where there are more, it is measured twice
LARGEST_ID = (1 << 32) - 1
COLUMNS = ("target", "metric", "end", "distance")


def scan(
    tokens: Array,
    offsets: Array,
    targets: Array | Sequence[Sequence[int]],
    *,
    max_distance: int,
    metric: Metric = "levenshtein",
    mode: Mode = "window",
    suppress_overlaps: bool = True,
) -> pa.Table:
    """Find every piece of a document within a distance of a target.

    tokens: ids of all documents, one after the other, integers [T]. offsets: of the documents, in
    tokens, integers [documents + 1]. targets: ids [N, m], all of one length. metric: "levenshtein"
    or "hamming". mode: "window" looks at pieces of m tokens, at each of their starts; "substring"
    at pieces of any length, the nearest for each end (the earliest start of equally near ones).

    Returns target (int32), document, start, end (int64, from the document's first token) and
    distance (int32): distance(target, piece from start to end) = the distance. Sorted by target,
    document and start. suppress_overlaps: of the pieces of a target that begin (substring: end)
    less than m tokens apart only the nearest stays; smallest distance first, earliest on ties.

    Raises DataError for no documents, offsets that do not fit, ids below 0 or beyond 32 bits, and
    targets that are empty or of several lengths; ConfigError for other settings.
    """
    if metric == "both":
        raise ConfigError("A table holds one metric.", "metric: both", "Ask for each in turn.")
    found = scan_with_plan(
        tokens,
        offsets,
        plan_scan(tokens, offsets, targets, max_distance=max_distance, metric=metric, mode=mode),
        suppress_overlaps=suppress_overlaps,
    )
    return found.drop_columns(["metric"])


def plan_scan(
    tokens: Array,
    offsets: Array,
    targets: Array | Sequence[Sequence[int]],
    *,
    max_distance: int,
    metric: Metric = "levenshtein",
    mode: Mode = "window",
) -> NearPlan:
    """Check what `scan` is given, and prepare a search, of other texts too."""
    offsets = np.asarray(offsets)
    _check_text(np.asanyarray(tokens), offsets)
    targets_NM = checked_targets(targets)
    check_settings(max_distance, metric, mode)
    from stillage.corpus.near_plan import near_plan

    most = min(int(max_distance), targets_NM.shape[1])  # no piece that is looked at is farther away
    return near_plan(targets_NM, most, metric, mode, sample_of(tokens))


def scan_with_plan(
    tokens: Array, offsets: Array, plan: NearPlan, *, suppress_overlaps: bool = True
) -> pa.Table:
    """Search documents as `scan` does, with a plan; `metric` (text) is a column too.

    Memory: a batch, and the hits.
    """
    tokens, offsets = np.asanyarray(tokens), np.asarray(offsets).astype(np.int64)
    pending, done = np.zeros((0, 4), dtype=np.int64), []
    for end, hits_H4 in _batches(tokens, offsets, plan):
        pending = np.concatenate([pending, hits_H4])
        if suppress_overlaps and len(pending) > PENDING:
            closed = offsets[np.searchsorted(offsets, end, side="right") - 1]
            is_closed = pending[:, 2] < closed
            done.append(suppressed(pending[is_closed], offsets, plan))
            pending = pending[~is_closed]
    hits_H4 = np.concatenate(
        [*done, suppressed(pending, offsets, plan) if suppress_overlaps else pending]
    )
    return _table(tokens, offsets, hits_H4, plan)


def sample_of(tokens: Array) -> Array:
    """Pieces from all over a text, uint32, to choose a filter by."""
    tokens = np.asanyarray(tokens)
    if len(tokens) <= SAMPLE_TOKENS:
        return as_ids(tokens)
    size = SAMPLE_TOKENS // SAMPLE_PIECES
    starts = np.linspace(0, len(tokens) - size, SAMPLE_PIECES).astype(np.int64)
    return np.concatenate([as_ids(tokens[start : start + size]) for start in starts])


def as_ids(tokens: Array) -> Array:
    """Token ids as uint32 in a row. DataError for one that is none."""
    if tokens.dtype.itemsize > 4 or tokens.dtype.kind == "i":
        wrong = np.flatnonzero((tokens < 0) | (tokens > LARGEST_ID))
        if len(wrong):
            values = f"token {wrong[0]} is {tokens[wrong[0]]}"
            fix = f"Ids are 0 to {LARGEST_ID}."
            raise DataError("The text holds a number that is no token id.", values, fix)
    return np.ascontiguousarray(tokens, dtype=np.uint32)


def checked_targets(targets: Array | Sequence[Sequence[int]]) -> Array:
    """Check targets: uint32 [N, m].

    DataError for none, an empty one, several lengths, ids below 0 or beyond 32 bits.
    """
    lengths = [len(target) for target in targets]
    if not lengths or not lengths[0]:
        what = "There are no targets." if not lengths else "A target is empty."
        raise DataError(what, f"targets: {len(lengths)}", "Give sequences of at least 1 token.")
    other = next((at for at, length in enumerate(lengths) if length != lengths[0]), None)
    if other is not None:
        values = f"target 0: {lengths[0]} tokens; target {other}: {lengths[other]}"
        fix = "Search for each length by itself."
        raise DataError("The targets are of several lengths.", values, fix)
    given = np.asarray(targets)
    if given.dtype.kind not in "iu":
        values = f"targets are {given.dtype}"
        raise DataError("Targets are no token ids.", values, "Give integers.")
    wrong = np.argwhere((given < 0) | (given > LARGEST_ID))
    if len(wrong):
        target, place = wrong[0]
        values = f"target {target}, token {place}: {given[target, place]}"
        raise DataError("A target holds no token id.", values, f"Ids are 0 to {LARGEST_ID}.")
    return np.ascontiguousarray(given, dtype=np.uint32)


def check_settings(max_distance: int, metric: Metric, mode: Mode) -> None:
    """Refuse a limit, a metric or a mode that there is not."""
    if max_distance < 0 or max_distance != int(max_distance):
        values = f"max_distance: {max_distance}"
        raise ConfigError("A distance is a whole number.", values, "Give 0 or more.")
    for name, given, known in (
        ("metric", metric, get_args(Metric)),
        ("mode", mode, get_args(Mode)),
    ):
        if given not in known:
            fix = did_you_mean(str(given), known, f"Choose from: {', '.join(known)}.")
            raise ConfigError(f"There is no such {name}.", f"{name}: {given}", fix)


def _check_text(tokens: Array, offsets: Array) -> None:
    """Refuse what is no row of tokens, cut into documents."""
    for name, array in (("tokens", tokens), ("offsets", offsets)):
        if array.ndim != 1 or (array.dtype.kind not in "iu" and len(array)):
            values = f"{name}: {array.dtype} {list(array.shape)}"
            raise DataError(f"The {name} are no row of integers.", values, "Give one.")
    if len(offsets) == 1:
        values, fix = "documents: 0", "Give documents + 1 offsets."
        raise DataError("There are no documents.", values, fix)
    check_offsets(offsets.astype(np.int64), len(tokens), "the text")


def _batches(tokens: Array, offsets: Array, plan: NearPlan) -> Iterator[tuple[int, Array]]:
    """Hits by batch: the end of the batch in the text, and int64 [H, 4] as COLUMNS says."""
    from stillage.corpus.near_kernels import HAMMING, LEVENSHTEIN, near_pieces, near_windows

    asked = metric_bits(plan.metric)
    searches = [(near_windows, asked)]
    if plan.mode == "substring":  # pieces at a Hamming distance have the target's length
        searches = [(near_pieces, LEVENSHTEIN), (near_windows, HAMMING)]
        searches = [one for one in searches if one[1] & asked]
    for low in range(0, len(tokens), BATCH):
        high = min(low + BATCH, len(tokens))
        first = max(0, low - plan.longest + 1)
        ids_T = plan.own_ids(as_ids(tokens[first:high]))
        documents = slice(
            np.searchsorted(offsets, first, side="right") - 1,
            np.searchsorted(offsets, high, side="left") + 1,
        )
        inside_D, regions_P3 = offsets[documents] - first, _regions(ids_T, low - first, plan)
        text = (ids_T, inside_D, regions_P3, plan.tables)
        hits_H4 = np.concatenate([_measured(*one, text, plan.max_distance) for one in searches])
        hits_H4[:, 2] += first
        yield high, hits_H4


def _measured(
    search: Callable[..., int], metrics: int, text: tuple[object, ...], most: int
) -> Array:
    """The hits of one search, int64 [H, 4], with as much room as they need."""
    room = ROOM
    while True:
        hits_H4 = np.empty((room, 4), dtype=np.int64)
        count = search(*text, (most, metrics), hits_H4)
        if count <= room:
            return hits_H4[:count]
        room = count


def _regions(ids_T: Array, low: int, plan: NearPlan) -> Array:
    """Where ends of near pieces may lie in a batch: target, first and last end, int64 [P, 3].

    low: the first end that this batch answers for.
    """
    from stillage.corpus.count_filter import BLOCK_TOKENS, GROUP, candidates
    from stillage.corpus.seed_filter import seeds_found

    length, most = plan.targets_NM.shape[1], plan.max_distance
    if plan.seeds is not None:
        place, target, within = seeds_found(ids_T, plan.seeds)
        ends = place - within + length - 1
        # of pieces of equal length half the changes are needed to come back from a shift
        shift = most // 2 if plan.mode == "window" else most
        return merged(target, ends - shift, ends + shift, low, len(ids_T) - 1)
    if not plan.counters:
        every = np.arange(len(plan.targets_NM))
        return merged(every, every * 0, every * 0 + len(ids_T) - 1, low, len(ids_T) - 1)
    parts = []
    for group, counters in enumerate(plan.counters):
        block, target = candidates(ids_T, counters)
        first, last = block * BLOCK_TOKENS, block * BLOCK_TOKENS + BLOCK_TOKENS - 1
        parts.append(merged(target + group * GROUP, first, last, low, len(ids_T) - 1))
    return np.concatenate(parts)


def merged(target_P: Array, first_P: Array, last_P: Array, low: int, high: int) -> Array:
    """Unite ranges of a target that touch, within low to high: int64 [P, 3]."""
    first_P, last_P = np.maximum(first_P, low), np.minimum(last_P, high)
    inside = first_P <= last_P
    target_P, first_P, last_P = target_P[inside], first_P[inside], last_P[inside]
    if not len(target_P):
        return np.zeros((0, 3), dtype=np.int64)
    order = np.lexsort((first_P, target_P))
    # on one line for all targets, each far from the next
    shift_P = target_P[order] * (high + 3)
    first_P, last_P = first_P[order] + shift_P, np.maximum.accumulate(last_P[order] + shift_P)
    new = np.append(True, first_P[1:] > last_P[:-1] + 1)
    ends = np.append(np.flatnonzero(new)[1:] - 1, len(new) - 1)
    shift_P, target_P = shift_P[new], target_P[order][new]
    return np.stack([target_P, first_P[new] - shift_P, last_P[ends] - shift_P], axis=1)


def suppressed(hits_H4: Array, offsets: Array, plan: NearPlan) -> Array:
    """Leave the nearest of overlapping hits, by target and metric (`keep_least`)."""
    from stillage.corpus.near_kernels import keep_least

    document = np.searchsorted(offsets, hits_H4[:, 2], side="right")
    order = np.lexsort((hits_H4[:, 2], document, hits_H4[:, 1], hits_H4[:, 0]))
    hits_H4, document = hits_H4[order], document[order]
    keys = np.stack([hits_H4[:, 0], hits_H4[:, 1], document], axis=1)
    group = np.cumsum(np.append(False, (np.diff(keys, axis=0) != 0).any(axis=1)))[: len(keys)]
    nearest_first = np.lexsort((hits_H4[:, 2], hits_H4[:, 3], group))
    length = plan.targets_NM.shape[1]
    return hits_H4[keep_least(group, hits_H4[:, 2].copy(), nearest_first, length)]


def _table(tokens: Array, offsets: Array, hits_H4: Array, plan: NearPlan) -> pa.Table:
    """The hits as a table, with their documents and starts."""
    import pyarrow as pa

    from stillage.corpus.near_kernels import LEVENSHTEIN

    target, metric, end, distance = hits_H4.T
    document = np.searchsorted(offsets, end, side="right") - 1
    start = end - plan.targets_NM.shape[1] + 1
    if plan.backwards is not None:
        anywhere = metric == LEVENSHTEIN
        first_H = offsets[document[anywhere]]
        start[anywhere] = _starts(tokens, first_H, hits_H4[anywhere], plan)
    first = offsets[document]
    order = np.lexsort((end, start, document, metric, target))
    columns = {
        "target": pa.array(target[order], pa.int32()),
        "document": pa.array(document[order], pa.int64()),
        "start": pa.array((start - first)[order], pa.int64()),
        "end": pa.array((end + 1 - first)[order], pa.int64()),
        "distance": pa.array(distance[order], pa.int32()),
        "metric": pa.array([METRICS[bit >> 1] for bit in metric[order].tolist()], pa.string()),
    }
    return pa.table(columns)


def _starts(tokens: Array, first_H: Array, hits_H4: Array, plan: NearPlan) -> Array:
    """Where pieces of any length begin, in the text.

    first_H: where their documents begin. A piece at a time: the text may be larger than memory.
    """
    from stillage.corpus.near_kernels import earliest_start

    assert plan.backwards is not None
    length = plan.targets_NM.shape[1]
    start_H = np.empty(len(hits_H4), dtype=np.int64)
    for hit, (target, _, end, distance) in enumerate(hits_H4.tolist()):
        low = max(int(first_H[hit]), end + 1 - length - distance)
        ids_T = plan.own_ids(as_ids(tokens[low : end + 1]))
        start_H[hit] = low + earliest_start(ids_T, target, distance, plan.backwards)
    return start_H
