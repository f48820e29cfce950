"""Suffix arrays of lists of ids by sorting, for tests of what reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from stillage.corpus.merge import Joined, SortedPart, join_parts


def naive_part(documents: Sequence[Sequence[int]], kind: str = "<u2") -> SortedPart:
    """Documents with their suffix array."""
    tokens = [one for ids in documents for one in ids]
    offsets = np.cumsum([0, *map(len, documents)])
    rests, place = [], 0
    for ids in documents:
        for at in range(len(ids)):
            rests.append((list(ids[at:]), place))
            place += 1
    rests.sort()
    lcp = [0] * len(rests)
    for rank in range(1, len(rests)):
        a, b = rests[rank - 1][0], rests[rank][0]
        while lcp[rank] < min(len(a), len(b)) and a[lcp[rank]] == b[lcp[rank]]:
            lcp[rank] += 1
    return SortedPart(
        tokens_T=np.array(tokens, dtype=kind),
        offsets_D=offsets,
        suffixes_T=np.array([place for _, place in rests], dtype=np.uint32),
        lcp_T=np.array(lcp, dtype=np.uint32),
    )


def naive_parts(documents: Sequence[Sequence[int]], parts: int) -> Joined:
    """So many parts of about as many documents each, joined."""
    cuts = [len(documents) * number // parts for number in range(parts + 1)]
    return join_parts([naive_part(documents[a:b]) for a, b in pairwise(cuts)])
