"""What exact deduplication at L tokens removes, as spans of documents.

A sequence of L tokens that occurs twice or more in the corpus is repeated; occurrences may overlap,
and none crosses the border of a document. What is removed is decided by place, never by searching
a text again, and on the corpus as it is, not on what an earlier removal left of it.

keep="first": every repeated sequence stays where it occurs first (in document order); all its other
occurrences are copies of that one. A copy loses all its L tokens, except those that it shares with
the occurrence it is a copy of (a a a a ..., where an occurrence runs into its own copy).
keep="none": every occurrence of a repeated sequence loses all its tokens.

What holds, for any corpus:
1. No sequence of L tokens occurs twice within what is kept. A kept run is what lies between two
   removed spans, or a border of its document: glued together, runs may repeat something.
2. keep="first": every removed token is the copy of an earlier one, and who follows the sources
   comes to a kept one. A copy that does not run into its source is removed whole, even where
   something begins in it that occurs here first. keep="none": nothing kept occurred twice.
3. A token that lies in no copy (keep="none": in no repeated sequence) stays.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

import numpy as np

from stillage.corpus.merge import Joined, merged_suffixes
from stillage.corpus.shards import ShardSet
from stillage.errors import ConfigError, did_you_mean
from stillage.run.folder import full_disk_interrupts
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Keep = Literal["first", "none"]
"""Which occurrence of a repeated sequence stays: the first in document order, or none."""

RANGE = 1 << 24  # tokens whose copies are turned into spans at a time
RANGES = 256  # at most: each has a file of its own
IN_MEMORY = 1 << 26  # bytes of copies in all, before they go to temporary files


def removal_spans(
    corpus: ShardSet,
    length: int,
    keep: Keep,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """What exact deduplication at `length` tokens removes from an indexed corpus.

    Table: document, start, end, copy_document, copy_start (int64; start and end in tokens from the
    document's first), by document and start; spans do not overlap. The tokens from start to end
    equal those of copy_document from copy_start on: with keep="first" where they occur first, with
    keep="none" where they occur first besides. The settings stand in the schema's metadata (length,
    keep). progress: (suffixes done, of all). The same for any number of shards.

    Memory: that of the merge, and 24 bytes for each of 2^24 tokens (more where one document has
    more); temporary files of 16 bytes a copy. DataError where a shard has no index.
    """
    from stillage.corpus.indexed_parts import indexed_parts

    return joined_removal(indexed_parts(corpus), length, keep, progress)


def joined_removal(
    joined: Joined,
    length: int,
    keep: Keep,
    progress: Callable[[int, int], None] | None = None,
) -> pa.Table:
    """The same for parts with their suffix arrays (`removal_spans`)."""
    import pyarrow as pa

    check_rule(length, keep)
    cuts_R = range_cuts(joined)
    found: list[Array] = []
    with full_disk_interrupts(Path(tempfile.gettempdir())), ExitStack() as stack:
        files = [
            stack.enter_context(
                tempfile.SpooledTemporaryFile(max_size=IN_MEMORY // max(1, len(cuts_R) - 1))
            )
            for _ in cuts_R[1:]
        ]
        for copies_N, sources_N in copy_pairs(joined, length, keep, progress):
            store_pairs(files, cuts_R, copies_N, sources_N)
        for number, file in enumerate(files):
            span = int(cuts_R[number]), int(cuts_R[number + 1])
            found.append(spans_of_range(joined, file, span, length, keep))
    rows_N3 = np.concatenate([np.zeros((0, 3), dtype=np.int64), *found])
    document = np.searchsorted(joined.offsets_D, rows_N3[:, 0], side="right") - 1
    source = np.searchsorted(joined.offsets_D, rows_N3[:, 2], side="right") - 1
    columns = {
        "document": document,
        "start": rows_N3[:, 0] - joined.offsets_D[document],
        "end": rows_N3[:, 1] - joined.offsets_D[document],
        "copy_document": source,
        "copy_start": rows_N3[:, 2] - joined.offsets_D[source],
    }
    table = pa.table({name: pa.array(values, pa.int64()) for name, values in columns.items()})
    return table.replace_schema_metadata({"length": str(length), "keep": keep})


def check_rule(length: int, keep: str) -> None:
    """Refuse a length or a setting that there is not."""
    if length < 1:
        raise ConfigError("A repeat has a token at least.", f"length: {length}", "Give 1 or more.")
    if keep not in get_args(Keep):
        fix = did_you_mean(keep, get_args(Keep), f"Choose from: {', '.join(get_args(Keep))}.")
        raise ConfigError("There is no such choice of the copy that stays.", f"keep: {keep}", fix)


def range_cuts(joined: Joined) -> Array:
    """Cut the corpus between documents, about RANGE tokens apart.

    Returns positions, 0 and the end included.
    """
    size = max(RANGE, -(-joined.tokens // RANGES))
    near = np.arange(size, joined.tokens, size)
    cuts = joined.offsets_D[np.searchsorted(joined.offsets_D, near)]
    return np.unique(np.concatenate([[0], cuts, [joined.tokens]]).astype(np.int64))


def copy_pairs(
    joined: Joined,
    length: int,
    keep: Keep,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[tuple[Array, Array]]:
    """Yield where copies of `length` tokens begin, and where their sources do (int64)."""
    open_cluster: list[Array] = []
    done = 0
    for positions_N, common_N in merged_suffixes(joined):
        starts = np.flatnonzero(common_N < length)
        if not len(starts):
            open_cluster.append(positions_N)
        else:
            open_cluster.append(positions_N[: starts[0]])
            yield cluster_pairs(np.concatenate(open_cluster), np.zeros(1, np.int64), keep)
            whole = positions_N[starts[0] : starts[-1]]
            yield cluster_pairs(whole, starts[:-1] - starts[0], keep)
            open_cluster = [positions_N[starts[-1] :]]
        done += len(positions_N)
        if progress is not None:
            progress(done, joined.tokens)
    if open_cluster:
        yield cluster_pairs(np.concatenate(open_cluster), np.zeros(1, np.int64), keep)


def cluster_pairs(members_N: Array, starts_C: Array, keep: Keep) -> tuple[Array, Array]:
    """Pair the members of each cluster with its first one (that one: with the next)."""
    sizes_C = np.diff(np.append(starts_C, len(members_N)))
    is_repeated = np.repeat(sizes_C > 1, sizes_C)
    members_N, sizes_C = members_N[is_repeated], sizes_C[sizes_C > 1]
    if not len(members_N):
        return members_N, members_N
    starts_C = np.cumsum(sizes_C) - sizes_C
    first_N = np.repeat(np.minimum.reduceat(members_N, starts_C), sizes_C)
    is_first = members_N == first_N
    if keep == "first":
        return members_N[~is_first], first_N[~is_first]
    others_N = np.where(is_first, np.iinfo(np.int64).max, members_N)
    second_N = np.repeat(np.minimum.reduceat(others_N, starts_C), sizes_C)
    return members_N, np.where(is_first, second_N, first_N)


def store_pairs(
    files: Sequence[IO[bytes]], cuts_R: Array, copies_N: Array, sources_N: Array
) -> None:
    """Append the pairs to the file of the range in which the copy lies."""
    order = np.argsort(copies_N)
    pairs_N2 = np.stack([copies_N[order], sources_N[order]], axis=1)
    edges = np.searchsorted(pairs_N2[:, 0], cuts_R)
    for number in np.flatnonzero(np.diff(edges)).tolist():
        files[number].write(pairs_N2[edges[number] : edges[number + 1]].tobytes())


def spans_of_range(
    joined: Joined, file: IO[bytes], span: tuple[int, int], length: int, keep: Keep
) -> Array:
    """Turn the copies in a range into spans [N, 3]: start, end, start of the source."""
    file.seek(0)
    pairs_N2 = np.frombuffer(file.read(), dtype=np.int64).reshape(-1, 2)
    if not len(pairs_N2):
        return np.zeros((0, 3), dtype=np.int64)
    from stillage.corpus.removal_kernels import write_spans

    source_T = np.full(span[1] - span[0], -1, dtype=np.int64)
    source_T[pairs_N2[:, 0] - span[0]] = pairs_N2[:, 1]
    del pairs_N2
    is_copy = source_T >= 0
    follows = is_copy[:-1] & (source_T[1:] == source_T[:-1] + 1)
    most = int(is_copy.sum() - (follows.sum() if length > 1 else 0))  # a span each, at most
    starts = joined.offsets_D if length == 1 else joined.offsets_D[:0]
    out = np.empty((most, 3), dtype=np.int64)
    return out[: write_spans(source_T, span[0], length, keep == "first", starts, out)]
