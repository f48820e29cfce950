"""One task of a scan: search one part for all targets, and write its file.

Whoever runs it, and however often, writes the same bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.scan_part_file import PartFacts, hits_schema, write_scan_part
from stillage.corpus.scan_parts import Part, is_in_sample
from stillage.corpus.scan_plan import TARGETS, ScanPlan, ScanSettings, read_plan, targets_hash
from stillage.corpus.targets import read_targets
from stillage.corpus.token_file import TokenFile, open_tokens
from stillage.errors import DataError
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.corpus.near_plan import NearPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanJob:
    """What every process of a scan is told: two folders, which each reads for itself."""

    folder: Path  # of the scan: plan and targets are there
    corpus: Path  # of the shards


def prepare(
    settings: ScanSettings, tokens_Nm: Array, tokens_T: Array, offsets_D: Array
) -> NearPlan:
    """Prepare the search for targets, once for all parts.

    tokens_Nm: the targets. tokens_T, offsets_D: of the largest shard, looked at to choose a filter
    by; what is found does not depend on it.
    """
    from stillage.corpus.fuzzy import plan_scan

    return plan_scan(
        tokens_T,
        offsets_D,
        tokens_Nm,
        max_distance=settings.max_distance,
        metric=settings.metric,
        mode=settings.mode,
    )


def largest(sizes: Sequence[int]) -> int:
    """The place of the largest, the first of equal ones."""
    return max(range(len(sizes)), key=lambda place: sizes[place])


class Scanner:
    """A scan as one process does it: targets prepared once, one shard open at a time."""

    def __init__(self, job: ScanJob, near: NearPlan | None = None) -> None:
        """Read the plan and the targets. DataError where the targets are not the plan's.

        near: the search, where it has been prepared already.
        """
        self.job = job
        self.plan: ScanPlan = read_plan(job.folder)
        tokens_Nm, table = read_targets(job.folder / TARGETS, self.plan.vocab_size)
        if targets_hash(table) != self.plan.targets["sha256"]:
            values, fix = str(job.folder / TARGETS), "Give the targets again: they are copied there"
            raise DataError("The targets are not those of the plan.", values, f"{fix}.")
        self.place = -1
        self.file: TokenFile | None = None
        if near is None:
            text = self.shard(largest([shard["tokens"] for shard in self.plan.shards]))
            near = prepare(self.plan.settings, tokens_Nm, text.tokens_T, text.offsets_D)
        self.near = near

    def shard(self, place: int) -> TokenFile:
        """Open a shard; DataError where it does not hold what the plan says."""
        if self.file is None or self.place != place:
            facts = self.plan.shards[place]
            path = self.job.corpus / f"{facts['name']}.safetensors"
            file = open_tokens(path, "The shard")
            held = {"documents": file.documents, "tokens": len(file.tokens_T)}
            planned = {key: facts[key] for key in held}
            if held != planned:
                values, fix = f"{path}: {held}; plan: {planned}", "Scan the corpus anew."
                raise DataError("The shard and the scan do not belong together.", values, fix)
            self.file, self.place = file, place
        return self.file

    def do(self, part: Part) -> PartFacts:
        """Scan a part and write its file."""
        file, settings = self.shard(part.shard), self.plan.settings
        before = self.plan.first_documents[part.shard] + part.first
        chosen = np.flatnonzero(
            is_in_sample(settings.seed, settings.sample, before, before + part.end - part.first)
        )
        tokens_T, offsets_D = documents_of(file, part, chosen)
        rows = self.rows(tokens_T, offsets_D, chosen + before)
        facts = PartFacts(
            plan=self.plan.hash,
            part=part,
            documents=len(chosen),
            tokens=len(tokens_T),
            rows=len(rows),
        )
        write_scan_part(self.job.folder, rows, facts)
        release(file.tokens_T)
        return facts

    def rows(self, tokens_T: Array, offsets_D: Array, numbers_D: Array) -> pa.Table:
        """Find the near-duplicates in some documents. numbers_D: of these, in the corpus."""
        from stillage.corpus.fuzzy import scan_with_plan

        if not len(numbers_D):
            return hits_schema().empty_table()
        kept = self.plan.settings.suppress_overlaps
        found = scan_with_plan(tokens_T, offsets_D, self.near, suppress_overlaps=kept)
        return numbered(found, numbers_D)


def release(tokens_T: Array) -> None:
    """Free the memory of mapped tokens that were read; they can be read again."""
    if isinstance(tokens_T.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        tokens_T.base.madvise(mmap.MADV_DONTNEED)


def documents_of(file: TokenFile, part: Part, chosen: Array) -> tuple[Array, Array]:
    """Take some documents of a part: tokens and offsets.

    All of them are a view of the file, fewer a copy.
    chosen: their numbers, rising, counted from the part's first.
    """
    offsets_D = file.offsets_D[part.first : part.end + 1]
    if len(chosen) == part.end - part.first:
        return file.tokens_T[offsets_D[0] : offsets_D[-1]], offsets_D - offsets_D[0]
    starts, ends = offsets_D[chosen], offsets_D[chosen + 1]
    pieces = [file.tokens_T[first:end] for first, end in zip(starts, ends, strict=True)]
    tokens_T = np.concatenate([np.zeros(0, dtype=file.tokens_T.dtype), *pieces])
    return tokens_T, np.concatenate([[0], np.cumsum(ends - starts)]).astype(np.int64)


def numbered(rows: pa.Table, numbers_D: Array) -> pa.Table:
    """Rows in the columns of a part, with a document's number in the corpus."""
    import pyarrow as pa

    place = rows.column_names.index("document")
    numbers = pa.array(numbers_D[rows["document"].to_numpy()], pa.int64())
    named = rows.set_column(place, "document", numbers)
    metrics = named["metric"].dictionary_encode()
    return named.set_column(named.column_names.index("metric"), "metric", metrics).cast(
        hits_schema()
    )


@lru_cache(maxsize=1)
def scanner(job: ScanJob, plan_hash: str) -> Scanner:
    """The scanner of this process, made once for a plan."""
    made = Scanner(job)
    assert made.plan.hash == plan_hash
    return made
