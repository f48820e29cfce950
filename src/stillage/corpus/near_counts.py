"""How many near-duplicates a sequence has, by distance and bucket, with intervals.

What is estimated: the mean number of near-duplicates within a distance, over the sequences that a
bucket's targets were drawn from, in a corpus of as many documents from the same source. Targets and
documents are draws, so the interval holds both errors; so it does where a sample of the documents
was scanned. Exact copies (distance 0) are counted apart and have no limits: targets are chosen by
their number. So is the place that a target was taken from, which is always found.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.functional.binomial import Interval
from stillage.functional.means import mean_interval
from stillage.rng import generator
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_TARGETS = 10  # below these no limits are given (benchmarks/simulations/near_counts.py)
LEAST_DOCUMENTS = 10
NOT_DRAWN = "targets were chosen by their exact copies"
NOT_ESTIMATED = "exact copies are counted, not estimated"
MOST_GROUPS = 4096  # more documents than these are put together at random
MOST_DOCUMENTS = 10**9 - 1  # numpy's limit; of more, the rest hold nothing that would count


@dataclass(frozen=True, slots=True, kw_only=True)
class ScannedDocuments:
    """The documents that were scanned: all, or an independent random sample.

    of: documents of the corpus; a number of hits is multiplied by of / documents to speak of it.
    """

    documents: int
    of: int

    @property
    def scale(self) -> float:
        """What a hit counts for the whole corpus: 1 where all of it was scanned."""
        return self.of / self.documents if self.documents else math.nan


def own_places(hits: pa.Table, targets: pa.Table) -> tuple[Array, Array]:
    """Tell which hits lie at the place that their target was taken from, bool[H].

    Of that document, and their end less than a target's length from its end, as overlaps are told
    when they are suppressed. targets: row t is target t. And bool[T]: whose place was found, at
    distance 0; where it was not, the target is of another corpus, or its document was not scanned,
    and what lies there is not its own.
    """
    target_H = hits["target"].to_numpy()
    lengths = targets["tokens"].combine_chunks().value_lengths().to_numpy()
    documents, starts = (
        targets[name].combine_chunks().fill_null(-1).to_numpy() for name in ("document", "start")
    )
    away_H = np.abs(hits["end"].to_numpy() - (starts + lengths)[target_H])
    is_there = (hits["document"].to_numpy() == documents[target_H]) & (documents[target_H] >= 0)
    is_there &= away_H < lengths[target_H]
    is_found = np.zeros(len(targets), dtype=bool)
    is_found[target_H[is_there & (hits["distance"].to_numpy() == 0)]] = True
    return is_there, is_found


def near_counts(
    hits: pa.Table,
    targets: pa.Table,
    scanned: ScannedDocuments,
    *,
    metrics: Sequence[str],
    distances: Sequence[int],
    level: float = 0.95,
) -> pa.Table:
    """Average the copies of a bucket's targets, by metric and distance.

    hits: columns target, document, distance, metric; without the targets' own places
    (`own_places`). targets: columns role, bucket; row t is target t. At distance 0 exact copies,
    without limits: those were chosen with the targets. Beyond, near-duplicates of distance 1 up to
    that one, exact copies left out, so that their numbers never fall. For the whole corpus,
    whatever share of it was scanned.

    The limits add two errors in quadrature: that of a mean over targets, and that of a sum over
    documents, each with the limits of `means.mean_interval`, which are corrected for skewness. A
    bootstrap of the documents covers 12 to 94 %, one of documents and targets 76 to 98 %, these
    limits 91 to 100 % (benchmarks/simulations/near_counts.py). NaN with a reason where there are
    fewer than LEAST_TARGETS targets, or hits in fewer than LEAST_DOCUMENTS documents.

    Returns a table of COLUMNS.
    """
    import pyarrow as pa

    kinds = pa.schema([(name, pa.type_for_alias(kind)) for name, kind in COLUMNS.items()])
    names, rows = bucket_names(targets), list[dict[str, Any]]()
    for metric in metrics:
        chosen = hits_of(hits, metric)
        numbers = [chosen[name].to_numpy() for name in ("target", "document", "distance")]
        for bucket in ordered_buckets(names):
            is_own = np.array([name == bucket for name in names])
            rows += [
                {"metric": metric, "bucket": bucket, **row}
                for row in _bucket_rows(
                    numbers, is_own, scanned, distances, level, is_numbered=bucket.isdecimal()
                )
            ]
    return pa.Table.from_pylist(rows, schema=kinds)


def hits_of(hits: pa.Table, metric: str) -> pa.Table:
    """The hits of one metric, whether their column is of strings or a dictionary."""
    import pyarrow.compute as pc

    named = hits["metric"].cast("string")
    return hits.filter(pc.equal(named, metric))  # pyright: ignore[reportAttributeAccessIssue]


COLUMNS = {
    "metric": "string",
    "bucket": "string",
    "distance": "int64",  # the largest that counts
    "counted": "string",  # exact copies (distance 0), near-duplicates (1 and more)
    "targets": "int64",
    "found": "int64",  # of all the bucket's targets, as found
    "mean": "double",  # of a target, in the whole corpus
    "low": "double",
    "high": "double",
    "level": "double",
    "documents": "int64",  # that hold one
    "reason": "string",  # why there are no limits
}
"""Column of `near_counts` -> Arrow type."""


def bucket_names(targets: pa.Table) -> list[str]:
    """Name each target's bucket: the count that was asked for; without one, its role."""
    pairs = zip(targets["role"].to_pylist(), targets["bucket"].to_pylist(), strict=True)
    return [role if bucket is None else str(bucket) for role, bucket in pairs]


def ordered_buckets(names: Iterable[str]) -> list[str]:
    """Each bucket once: by number, then those that have none."""
    return sorted(set(names), key=lambda name: (not name.isdecimal(), len(name), name))


def _bucket_rows(
    numbers: Sequence[Array],
    is_own: Array,
    scanned: ScannedDocuments,
    distances: Sequence[int],
    level: float,
    *,
    is_numbered: bool,
) -> Iterator[dict[str, Any]]:
    """Count one bucket at every distance.

    numbers: target, document and distance of each hit. is_numbered: whether its targets were chosen
    by their number of exact copies.
    """
    targets, row_of = int(is_own.sum()), np.cumsum(is_own) - 1
    target_H, document_H, distance_H = (each[is_own[numbers[0]]] for each in numbers)
    target_H = row_of[target_H]
    for within in distances:
        inside = (distance_H <= within) & (distance_H > 0) if within else distance_H == 0
        mean = mean_count(target_H[inside], document_H[inside], targets, scanned, level=level)
        if not within:
            mean = MeanCount(
                interval=Interval(value=mean.interval.value, level=level),
                documents=mean.documents,
                reason=NOT_DRAWN if is_numbered else NOT_ESTIMATED,
            )
        yield {
            "distance": within,
            "counted": "near-duplicates" if within else "exact copies",
            "targets": targets,
            "found": int(inside.sum()),
            "mean": mean.interval.value,
            "low": mean.interval.low,
            "high": mean.interval.high,
            "level": level,
            "documents": mean.documents,
            "reason": mean.reason,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanCount:
    """A mean over targets; how many documents hold hits; why there are no limits."""

    interval: Interval
    documents: int
    reason: str = ""


def mean_count(
    target_H: Array,
    document_H: Array,
    targets: int,
    scanned: ScannedDocuments,
    *,
    level: float = 0.95,
    weight_H: Array | None = None,
) -> MeanCount:
    """Average hits over targets, for the whole corpus.

    target_H: the number of each hit's target, from 0 to targets - 1. weight_H: what a hit counts;
    None: one.
    """
    number_T = np.bincount(target_H, weight_H, minlength=targets) * scanned.scale
    bare = Interval(value=float(number_T.mean()) if targets else math.nan, level=level)
    held, place_H = np.unique(document_H, return_inverse=True)
    for what, rest, had, least in (
        ("target", "", targets, LEAST_TARGETS),
        ("document", " with a near-duplicate", len(held), LEAST_DOCUMENTS),
    ):
        if had < least:
            said = f"{had} {what}{'s' * (had != 1)}{rest}: too few to tell, {least} needed"
            return MeanCount(interval=bare, documents=len(held), reason=said)
    sum_G = grouped(np.bincount(place_H, weight_H) / targets, scanned.documents)
    by_target = _arms(mean_interval(number_T, level))
    by_document = _arms(mean_interval(sum_G, level), sum_G.size * scanned.scale)
    below, above = map(math.hypot, by_target, by_document)
    if not below and not above:
        said = "all targets and all documents have the same number"
        return MeanCount(interval=bare, documents=len(held), reason=said)
    limits = replace(bare, low=max(0.0, bare.value - below), high=bare.value + above)
    return MeanCount(interval=limits, documents=len(held))


def grouped(sum_J: Array, documents: int) -> Array:
    """Sum documents in random groups, so that any number takes little memory.

    sum_J: of the documents that hold any. One number a document, 0 included, where there are at
    most MOST_GROUPS; sums of equal random groups scatter as much as the documents do.
    """
    if documents <= MOST_GROUPS:
        return np.append(sum_J, np.zeros(documents - len(sum_J)))
    random = generator(0, "documents in groups")
    size, rest = divmod(min(documents, MOST_DOCUMENTS), MOST_GROUPS)
    size_G = np.full(MOST_GROUPS, size) + (np.arange(MOST_GROUPS) < rest)
    held_G = random.multivariate_hypergeometric(size_G, len(sum_J), method="marginals")
    group_J = np.repeat(np.arange(MOST_GROUPS), held_G)
    return np.bincount(group_J, random.permutation(sum_J), minlength=MOST_GROUPS)


def _arms(mean: Interval, scale: float = 1.0) -> tuple[float, float]:
    """How far a number times scale is from its limits; 0 where nothing scatters."""
    if math.isnan(mean.low):
        return 0.0, 0.0
    return scale * (mean.value - mean.low), scale * (mean.high - mean.value)
