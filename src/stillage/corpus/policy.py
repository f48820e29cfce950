"""Count the near-duplicates that a deduplication leaves, and their worth.

Two readings, both reported. "against the target" is the published what-if: a near-duplicate goes
where it is a duplicate of the target itself, judged within the piece found. "in the corpus" is what
happens: the rule is applied to the corpus, and the documents that had near-duplicates are scanned
again without what it took out.

The first is too harsh where the rule keeps one copy, and where it cuts a span out of a piece whose
rest is still near; it is too kind where near-duplicates repeat each other but not the target, and
where the sequence that repeats reaches over the edge of the piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np

from stillage.corpus.copy_worth import Worth
from stillage.corpus.cuts import Spans, document_pieces
from stillage.corpus.dedup_rules import Rule
from stillage.corpus.exact_copies import DocumentReader
from stillage.corpus.near_counts import hits_of
from stillage.corpus.near_documents import jaccard, ngram_set
from stillage.corpus.pace import Tell
from stillage.corpus.shards import ShardSet
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

Reading = Literal["against the target", "in the corpus"]
BEFORE = "none"
"""The rule of the rows that count what there was before any."""
BATCH_HITS = 4096
BATCH_TOKENS = 1 << 22
HIT = ("target", "document", "start", "end", "distance", "metric")
Search = Callable[[Array, Array, str], "pa.Table"]
"""search(tokens, offsets, metric): the scan, as it was set, of other documents."""


def plain_hits(hits: pa.Table) -> pa.Table:
    """The columns of HIT, metrics as text."""
    metric = hits["metric"].cast("string")
    return hits.select(list(HIT)).set_column(HIT.index("metric"), "metric", metric)


def against_target(corpus: ShardSet, hits: pa.Table, tokens_Nm: Array, rule: Rule) -> pa.Table:
    """Return the hits that stay where each is compared with its target alone.

    ngram: the piece found shares no sequence of N tokens with the target (one shorter than N is
    compared whole). exact, jaccard: the document is no copy of the target.
    """
    import pyarrow as pa

    goes_H = AGAINST[rule.kind](corpus, hits, tokens_Nm, rule)
    return plain_hits(hits).filter(pa.array(~goes_H))


def _shares_ngram(corpus: ShardSet, hits: pa.Table, tokens_Nm: Array, rule: Rule) -> Array:
    """Whether the piece found and its target share a sequence of N tokens, bool[H]."""
    if tokens_Nm.shape[1] < rule.ngram:
        return hits["distance"].to_numpy() == 0
    return longest_shared(corpus, hits, tokens_Nm) >= rule.ngram


def _is_document(corpus: ShardSet, hits: pa.Table, tokens_Nm: Array, rule: Rule) -> Array:
    """Whether the target is the whole document, bool[H]."""
    read, lengths = DocumentReader(corpus), hits["end"].to_numpy() - hits["start"].to_numpy()
    goes_H = (hits["distance"].to_numpy() == 0) & (lengths == tokens_Nm.shape[1])
    documents_H = hits["document"].to_numpy()
    for at in np.flatnonzero(goes_H).tolist():
        goes_H[at] = len(read(int(documents_H[at]))) == tokens_Nm.shape[1]
    return goes_H


def _is_near_document(corpus: ShardSet, hits: pa.Table, tokens_Nm: Array, rule: Rule) -> Array:
    """Whether the document is a near-copy of the target, bool[H]."""
    read = DocumentReader(corpus)

    @lru_cache(maxsize=64)
    def of_document(document: int) -> frozenset[bytes]:
        return ngram_set(read(document).astype(np.uint32), rule.ngram)

    of_target = [ngram_set(ids.astype(np.uint32), rule.ngram) for ids in tokens_Nm]
    targets_H, documents_H = hits["target"].to_numpy(), hits["document"].to_numpy()
    goes_H = np.zeros(len(hits), dtype=bool)
    for at in np.lexsort((targets_H, documents_H)).tolist():
        ngrams, document = of_target[targets_H[at]], of_document(int(documents_H[at]))
        goes_H[at] = jaccard(ngrams, document, rule.threshold) >= rule.threshold
    return goes_H


AGAINST: Mapping[str, Callable[[ShardSet, pa.Table, Array, Rule], Array]] = {
    "exact": _is_document,
    "ngram": _shares_ngram,
    "jaccard": _is_near_document,
}
"""Kind of rule -> which hits it takes, each compared with its target alone."""


def longest_shared(corpus: ShardSet, hits: pa.Table, tokens_Nm: Array) -> Array:
    """Tokens of the longest sequence that each hit shares with its target, int64[H]."""
    longest_H = np.zeros(len(hits), dtype=np.int64)
    if not len(hits):
        return longest_H
    documents_H, starts_H, ends_H, targets_H = (
        hits[name].to_numpy() for name in ("document", "start", "end", "target")
    )
    width = int((ends_H - starts_H).max())
    for shard in corpus.shards:
        local_H = documents_H - shard.first_document
        inside = np.flatnonzero((local_H >= 0) & (local_H < shard.documents))
        for first in range(0, len(inside), BATCH_HITS):
            at = inside[first : first + BATCH_HITS]
            begins = shard.offsets_D[local_H[at]] + starts_H[at]
            places = begins[:, None] + np.arange(width)
            is_in = np.arange(width) < (ends_H - starts_H)[at][:, None]
            ids = shard.tokens_T[np.minimum(places, len(shard.tokens_T) - 1)].astype(np.int64)
            pieces_HW = np.where(is_in, ids, -1)  # no id
            longest_H[at] = _longest_runs(tokens_Nm[targets_H[at]].astype(np.int64), pieces_HW)
    return longest_H


def _longest_runs(targets_Hm: Array, pieces_HW: Array) -> Array:
    """The longest common piece of each pair of rows, int64[H], token by token of the target."""
    longest_H = np.zeros(len(targets_Hm), dtype=np.int64)
    runs = np.zeros((len(pieces_HW), pieces_HW.shape[1] + 1), dtype=np.int32)
    for column in range(targets_Hm.shape[1]):
        same = pieces_HW == targets_Hm[:, column, None]
        runs[:, 1:] = np.where(same, runs[:, :-1] + 1, 0)
        longest_H = np.maximum(longest_H, runs.max(axis=1))
    return longest_H


def in_corpus(
    corpus: ShardSet, hits: pa.Table, spans: Spans, search: Search, tell: Tell = lambda tokens: None
) -> pa.Table:
    """Return what is found where the spans were taken out of the corpus.

    A document without a span keeps its hits. Of the others each rest is searched as a document of
    its own, so that a hit that was cut may be found again, farther away. Documents without a hit
    need no search: a piece of theirs within the distance would have been one.
    """
    import pyarrow as pa

    hits = plain_hits(hits)
    documents_H = hits["document"].to_numpy()
    is_cut = np.isin(documents_H, spans.documents_S)
    found = [hits.filter(pa.array(~is_cut))]
    metrics: list[str] = hits["metric"].unique().to_pylist()
    metrics.sort()
    batch: list[tuple[int, int, Array]] = []  # document, start of the rest in it, ids
    read, held = DocumentReader(corpus), 0
    for document in np.unique(documents_H[is_cut]).tolist():
        document_T = read(document)
        for piece in document_pieces(document, len(document_T), spans, "split"):
            batch.append((document, piece.runs[0][0], piece.ids(document_T)))
            held += piece.tokens
        tell(len(document_T))
        if held >= BATCH_TOKENS:
            found += [_search_rests(batch, search, metric) for metric in metrics]
            batch, held = [], 0
    found += [_search_rests(batch, search, metric) for metric in metrics if batch]
    schema = found[0].schema
    table = pa.concat_tables([part.cast(schema) for part in found])
    order = [(name, "ascending") for name in ("target", "metric", "document", "start")]
    order[1] = ("metric", "descending")  # levenshtein first, as in a scan
    return table.sort_by(order)


def _search_rests(rests: Sequence[tuple[int, int, Array]], search: Search, metric: str) -> pa.Table:
    """Search rests of documents; places are told in tokens from the whole document's first."""
    import pyarrow as pa

    offsets = np.concatenate([[0], np.cumsum([len(ids) for _, _, ids in rests])]).astype(np.int64)
    found = search(np.concatenate([ids for _, _, ids in rests]), offsets, metric)
    at = found["document"].to_numpy()
    documents = np.array([document for document, _, _ in rests], dtype=np.int64)[at]
    shifts = np.array([start for _, start, _ in rests], dtype=np.int64)[at]
    columns = {
        "target": found["target"],
        "document": pa.array(documents, pa.int64()),
        "start": pa.array(found["start"].to_numpy() + shifts, pa.int64()),
        "end": pa.array(found["end"].to_numpy() + shifts, pa.int64()),
        "distance": found["distance"],
        "metric": pa.array([metric] * len(found), pa.string()),
    }
    return pa.table(columns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survivors:
    """What one rule leaves in one reading."""

    rule: str
    reading: str  # "" before any rule
    hits: pa.Table


def worth_rows(survivors: Survivors, length: int, worth: Worth) -> pa.Table:
    """Count what survives by metric, target and distance, and what it is worth.

    length: of the targets, in tokens. worth: exact-copy equivalents, near_duplicates times rho
    (distance / length), the mean over models; worth_low and worth_high: the least and the most of
    them, a range, no interval. is_measured: whether rho was at that distance.
    """
    import pyarrow as pa

    hits = plain_hits(survivors.hits)
    table = pa.table(
        {
            "metric": hits["metric"],
            "target": hits["target"].cast(pa.int64()),
            "distance": hits["distance"].cast(pa.int64()),
        }
    )
    keys = list(table.column_names)
    counted = table.group_by(keys).aggregate([([], "count_all")])
    counted = counted.sort_by([(name, "ascending") for name in keys])
    count = counted["count_all"].to_numpy().astype(np.int64)
    relative = counted["distance"].to_numpy() / length
    worth_MR = worth.by_model(relative) * count
    columns = {
        "rule": pa.array([survivors.rule] * len(count), pa.string()),
        "reading": pa.array([survivors.reading] * len(count), pa.string()),
        **{name: counted[name] for name in keys},
        "near_duplicates": pa.array(count, pa.int64()),
        "worth": pa.array(worth_MR.mean(axis=0), pa.float64()),
        "worth_low": pa.array(worth_MR.min(axis=0), pa.float64()),
        "worth_high": pa.array(worth_MR.max(axis=0), pa.float64()),
        "is_measured": pa.array(worth.is_measured(relative), pa.bool_()),
    }
    return pa.table(columns)


def summary_row(
    survivors: Survivors, metric: str, length: int, worth: Worth
) -> dict[str, str | int | float]:
    """Sum over targets and distances; low and high are those of the model's own sums.

    exact: at distance 0; within_N: near-duplicates up to N % of the target's length, N in TENTHS.
    """
    hits = hits_of(plain_hits(survivors.hits), metric)
    relative_H = hits["distance"].to_numpy() / length
    by_model = worth.by_model(relative_H).sum(axis=1)
    mean_H = worth.by_model(relative_H).mean(axis=0)
    return {
        "rule": survivors.rule,
        "reading": survivors.reading,
        "metric": metric,
        "near_duplicates": len(hits),
        "exact": int((relative_H == 0).sum()),
        **{f"within_{n}": int((relative_H <= n / 100).sum()) for n in TENTHS},
        "worth": float(by_model.mean()),
        "worth_low": float(by_model.min()),
        "worth_high": float(by_model.max()),
        "worth_not_measured": float(mean_H[~worth.is_measured(relative_H)].sum()),
    }


TENTHS = (10, 20, 30, 40, 50)
"""Distances of the summary, in percent of the target's length."""
