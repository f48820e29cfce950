"""What `corpus/removal.py` removes, by brute force: for tests of what is built on it."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from stillage.corpus.exact_copies import DocumentReader
from stillage.corpus.shards import ShardSet

COLUMNS = ("document", "start", "end", "copy_document", "copy_start")


def removal_spans(
    corpus: ShardSet,
    length: int,
    keep: str,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> pa.Table:
    """Spans of sequences of `length` tokens that occur elsewhere, each with what it is a copy of."""
    read = DocumentReader(corpus)
    documents = [read(number).tolist() for number in range(corpus.documents)]
    places: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for number, ids in enumerate(documents):
        for start in range(len(ids) - length + 1):
            places.setdefault(tuple(ids[start : start + length]), []).append((number, start))
    source: dict[tuple[int, int], tuple[int, int]] = {}  # removed token -> what it is a copy of
    for found in places.values():
        for at, (number, start) in enumerate(found):
            if len(found) == 1 or (at == 0 and keep == "first"):
                continue
            copy, copy_start = found[0] if at else found[1]
            for shift in range(length):
                runs_into = copy == number and start + shift < copy_start + length
                if not (keep == "first" and runs_into):
                    source.setdefault((number, start + shift), (copy, copy_start + shift))
    rows: list[list[int]] = []
    for number, ids in enumerate(documents):
        for at in range(len(ids)):
            if (number, at) not in source:
                continue
            copy, copy_at = source[number, at]
            last = rows[-1] if rows else [-1, 0, 0, 0, 0]
            if last[:1] + last[2:4] == [number, at, copy] and copy_at - last[4] == at - last[1]:
                last[2] += 1
            else:
                rows.append([number, at, at + 1, copy, copy_at])
    progress(corpus.tokens, corpus.tokens)
    columns = list(zip(*rows, strict=True)) or [()] * len(COLUMNS)
    return pa.table(
        {name: pa.array(values, pa.int64()) for name, values in zip(COLUMNS, columns, strict=True)}
    )
