"""Self-similarity of a corpus: sequences of L tokens that occur more than once.

A cluster is all positions that share their next L tokens; every shift of a longer repeat is a
cluster of its own. A cluster is counted once, whole, wherever the shards are cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stillage.corpus.merge import Joined, feed_all
from stillage.corpus.repeats import Progress, check_limits
from stillage.corpus.shards import ShardSet
from stillage.types import Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """What of a corpus lies in sequences of `length` tokens that occur twice and more."""

    length: int
    tokens: int
    documents: int
    repeated_tokens: int  # lie in such a sequence, at any of its occurrences
    repeated_documents: int  # hold such a sequence
    sizes: Mapping[int, int]  # size of a cluster -> how many clusters have it

    @property
    def clusters(self) -> int:
        """How many different sequences are repeated."""
        return sum(self.sizes.values())

    @property
    def positions(self) -> int:
        """How many positions begin such a sequence."""
        return sum(size * clusters for size, clusters in self.sizes.items())

    @property
    def share(self) -> float:
        """Repeated tokens in all tokens; 0 of none."""
        return self.repeated_tokens / max(1, self.tokens)


def corpus_similar(corpus: ShardSet, length: int, progress: Progress | None = None) -> Similar:
    """Count clusters of positions that share `length` tokens, over all shards at once.

    Memory: a bit a token, and that of the merge. ConfigError for a length below 1; DataError where
    a shard has no index. progress: (suffixes done, of all).
    """
    from stillage.corpus.indexed_parts import indexed_parts

    check_limits(length, 2, 0)
    return joined_similar(indexed_parts(corpus), length, progress)


def joined_similar(joined: Joined, length: int, progress: Progress | None = None) -> Similar:
    """The same of parts with their suffix arrays."""
    count = ClusterCount(joined, length)
    feed_all(joined, count.feed, progress)
    return count.finish()


class ClusterCount:
    """Counts clusters in merged suffixes that are fed block by block."""

    def __init__(self, joined: Joined, length: int) -> None:
        """Nothing fed yet."""
        self.joined = joined
        self.length = length
        self.at = np.zeros(2, dtype=np.int64)
        self.is_start_T8 = np.zeros(joined.tokens // 8 + 1, dtype=np.uint8)
        self.sizes: Counter[int] = Counter()

    def feed(self, block: tuple[Array, Array]) -> None:
        """Take the next suffixes: positions, and tokens shared with the last (int64)."""
        from stillage.corpus.repeat_kernels import count_clusters

        sizes_N = np.empty(len(block[0]), dtype=np.int64)
        least = min(self.length, self.joined.tokens + 1)  # no sequence is as long
        done = count_clusters(block, least, self.at, self.is_start_T8, sizes_N)
        sizes, clusters = np.unique(sizes_N[:done], return_counts=True)
        self.sizes.update(dict(zip(sizes.tolist(), clusters.tolist(), strict=True)))

    def finish(self) -> Similar:
        """The report; nothing can be fed after it."""
        from stillage.corpus.repeat_kernels import count_covered

        self.feed((np.zeros(1, dtype=np.int64), np.zeros(1, dtype=np.int64)))
        tokens, documents = count_covered(
            self.is_start_T8, min(self.length, self.joined.tokens + 1), self.joined.offsets_D
        )
        return Similar(
            length=self.length,
            tokens=self.joined.tokens,
            documents=self.joined.documents,
            repeated_tokens=tokens,
            repeated_documents=documents,
            sizes=dict(sorted(self.sizes.items())),
        )
