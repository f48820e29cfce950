"""The Python functions `st.corpus.find_near` and `st.corpus.find_repeats`.

Documents are texts, lists of token ids, or a folder of token shards; what comes back is a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from stillage.corpus.distance_kinds import Metric, Mode
from stillage.corpus.scan_part_file import in_order, join_hits
from stillage.corpus.scan_task import largest, numbered
from stillage.corpus.shards import ShardSet, open_shards
from stillage.corpus.targets import Encode, read_targets
from stillage.corpus.token_file import check_token_ids
from stillage.errors import ConfigError, DataError
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Ids = Sequence[int] | Array


def find_near(
    documents: str | Path | Sequence[str] | Sequence[Ids],
    targets: str | Path | Sequence[str] | Sequence[Ids],
    *,
    max_distance: int,
    metric: Metric = "levenshtein",
    mode: Mode = "window",
    suppress_overlaps: bool = True,
    encode: Encode | None = None,
) -> pa.Table:
    """Find every piece of the documents within a distance of a target; none is missed.

    documents: texts, lists of ids, or the folder of `stillage corpus tokenize`. targets: the same,
    all of one length in tokens, or a file as `stillage corpus scan` takes it. Texts are cut by
    encode; without it a token is a word (what stands between white space). metric: levenshtein,
    hamming or both. mode: window looks at pieces as long as the target, substring at pieces of any
    length.
    suppress_overlaps: of overlapping pieces only the nearest stays, the earliest on ties.

    Returns target, document, start, end (tokens from the document's first), distance and metric;
    ordered by target, metric, document, start. DataError for no documents or targets, targets of
    several lengths, and ids that are none. For more than an afternoon: `stillage corpus scan`.
    """
    from stillage.corpus import fuzzy

    corpus = shards_in(documents)
    in_file = isinstance(targets, (str, Path))
    reader = Reader(encode, has_ids=corpus is not None or in_file)
    if in_file:
        size = corpus.vocab_size if corpus else 0
        wanted: Any = read_targets(Path(targets), size, encode)[0]
    else:
        wanted = [reader.ids(target) for target in targets]
        for number, ids in enumerate(wanted if corpus else ()):
            assert corpus is not None
            check_token_ids(ids, corpus.vocab_size, f"target {number}")
    texts = tokens_and_offsets(corpus, documents, reader)
    first = texts[largest([len(tokens_T) for tokens_T, _ in texts])] if texts else (EMPTY, ZERO)
    plan = fuzzy.plan_scan(*first, wanted, max_distance=max_distance, metric=metric, mode=mode)
    tables, before = [], 0
    for tokens_T, offsets_D in texts:
        if len(offsets_D) > 1:  # a shard may have no documents
            rows = fuzzy.scan_with_plan(
                tokens_T, offsets_D, plan, suppress_overlaps=suppress_overlaps
            )
            tables.append(numbered(rows, before + np.arange(len(offsets_D) - 1)))
        before += len(offsets_D) - 1
    return in_order(join_hits(tables))


def find_repeats(
    documents: str | Path | Sequence[str] | Sequence[Ids],
    *,
    min_length: int,
    min_count: int = 2,
    top: int = 0,
    with_tokens: bool = False,
    encode: Encode | None = None,
) -> pa.Table:
    """Find all maximal repeats: what occurs twice and more, and cannot be made longer.

    documents: as in find_near; a folder of shards has to be indexed (`stillage corpus index`).
    min_length: in tokens. min_count: leave out what occurs less often. top: only so many of the
    most frequent; 0: all. with_tokens: the repeats themselves as a column of ids. encode: as in
    find_near.

    Returns document and start of the first occurrence, length, count, and the number of documents
    that hold one. ConfigError for limits below 1 and a count below 2; DataError for no documents.
    """
    from stillage.corpus import repeats

    corpus = shards_in(documents)
    if corpus:
        return repeats.corpus_repeats(
            corpus, min_length=min_length, min_count=min_count, top=top, with_tokens=with_tokens
        )
    ((tokens_T, offsets_D),) = tokens_and_offsets(None, documents, Reader(encode))
    return repeats.repeats_in_arrays(
        tokens_T,
        offsets_D,
        min_length=min_length,
        min_count=min_count,
        top=top,
        with_tokens=with_tokens,
    )


EMPTY, ZERO = np.zeros(0, dtype=np.int64), np.zeros(1, dtype=np.int64)


class Reader:
    """Turns texts into ids: by a tokenizer, or numbering words as they come."""

    def __init__(self, encode: Encode | None, *, has_ids: bool = False) -> None:
        """encode: a text's ids; None: words. has_ids: what is compared holds ids already."""
        self.encode, self.has_ids = encode, has_ids
        self.words: dict[str, int] = {}

    def ids(self, given: str | Ids) -> Array:
        """A text's ids, or ids as they are, checked to be whole numbers.

        ConfigError for words beside ids: without a tokenizer nothing is equal in both.
        """
        is_words = isinstance(given, str) and self.encode is None
        if isinstance(given, str):
            ids = self.encode(given) if self.encode else self.numbers(given)
        else:
            ids, self.has_ids = given, True
        if self.has_ids and (is_words or self.words):
            what, fix = "Some are texts, others are ids.", "Give encode=, or only one of the two."
            raise ConfigError(what, f"given: {str(given)[:60]}", fix)
        ids_T = np.asarray(ids) if len(ids) else EMPTY
        if ids_T.ndim != 1 or ids_T.dtype.kind not in "iu":
            values, fix = f"given: {str(given)[:60]}", "Give texts, or lists of whole numbers."
            raise DataError("This is neither a text nor a list of token ids.", values, fix)
        return ids_T

    def numbers(self, text: str) -> list[int]:
        """The number of each word, given when it is first met."""
        return [self.words.setdefault(word, len(self.words)) for word in text.split()]


def shards_in(documents: object) -> ShardSet | None:
    """Open the folder that is named; None where documents themselves are given."""
    return open_shards(Path(documents)) if isinstance(documents, (str, Path)) else None


def tokens_and_offsets(
    corpus: ShardSet | None, documents: object, reader: Reader
) -> list[tuple[Array, Array]]:
    """Tokens and offsets of each shard, or of the documents in memory."""
    if corpus:
        return [(shard.tokens_T, shard.offsets_D) for shard in corpus.shards]
    lists = [reader.ids(one) for one in cast("Sequence[str | Ids]", documents)]
    if not lists:
        fix = "Give texts, lists of token ids, or a folder of token shards."
        raise DataError("There are no documents.", "documents: 0", fix)
    offsets_D = np.cumsum([0, *map(len, lists)]).astype(np.int64)
    return [(np.concatenate([EMPTY, *lists]), offsets_D)]
