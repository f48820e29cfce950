"""The file of one part of a scan: its rows, and what was read for them.

A Parquet table of COLUMNS, ordered by target, metric (levenshtein first), document, start. Its
metadata says which plan and part it belongs to and what was read, with a digest of all of it and of
the rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stillage.corpus.distance_kinds import METRICS
from stillage.corpus.scan_parts import Part
from stillage.errors import DataError
from stillage.run.folder import write_table
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = "parts"
COLUMNS = {
    "target": "int32",  # row of the targets
    "document": "int64",  # through all shards
    "start": "int64",  # tokens from the document's first
    "end": "int64",
    "distance": "int32",
    "metric": "string",  # a dictionary: levenshtein or hamming
}
"""Column -> Arrow type, of a part and of the whole."""
KEY = b"stillage.scan"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """What a part says of itself."""

    plan: str  # ScanPlan.hash
    part: Part
    documents: int  # that were scanned: of a sample, those drawn
    tokens: int
    rows: int


def hits_schema() -> pa.Schema:
    """The columns of the rows, the metric as a dictionary."""
    import pyarrow as pa

    kinds = {name: pa.type_for_alias(kind) for name, kind in COLUMNS.items()}
    kinds["metric"] = pa.dictionary(pa.int32(), pa.string())
    return pa.schema(list(kinds.items()))


def part_path(folder: Path, number: int) -> Path:
    """Where a part of a scan lies."""
    return folder / PARTS / f"part-{number:06d}.parquet"


def write_scan_part(folder: Path, rows: pa.Table, facts: PartFacts) -> None:
    """Write a part atomically; equal rows and facts give equal bytes."""
    assert rows.schema.equals(hits_schema(), check_metadata=True)
    text = json.dumps({**asdict(facts), "digest": part_digest(rows, facts)}, sort_keys=True)
    write_table(part_path(folder, facts.part.number), rows, {KEY: text.encode()})


def part_digest(rows: pa.Table, facts: PartFacts) -> str:
    """The sha256 of facts and rows."""
    found = hashlib.sha256(json.dumps(asdict(facts), sort_keys=True).encode())
    for name in COLUMNS:
        values = metric_codes(rows) if name == "metric" else rows[name].to_numpy()
        found.update(values.tobytes())
    return found.hexdigest()


def read_part(folder: Path, number: int) -> tuple[PartFacts, pa.Table]:
    """Read a part and check all of it. DataError: damaged, or no part of a scan."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = part_path(folder, number)
    what, fix = "A part of the scan is damaged.", "Scan again: parts that are whole stay."
    try:
        with pq.ParquetFile(path, read_dictionary=["metric"]) as file:
            text = (file.metadata.metadata or {}).get(KEY)
            if text is None:
                raise DataError("A file is no part of a scan.", str(path), fix)
            rows = file.read().replace_schema_metadata(None)
        about = json.loads(text)
        said = about.pop("digest")
        facts = PartFacts(**{**about, "part": Part(**about["part"])})
        if (
            rows.schema != hits_schema()
            or len(rows) != facts.rows
            or part_digest(rows, facts) != said
        ):
            raise DataError(what, f"{path}: its rows are not those that were written", fix)
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(what, f"{path}: {' '.join(str(error).split())[:200]}", fix) from error
    return facts, rows


def join_hits(tables: Iterable[pa.Table]) -> pa.Table:
    """One table of the rows of many; of none, an empty one with its columns."""
    import pyarrow as pa

    return pa.concat_tables([hits_schema().empty_table(), *tables]).unify_dictionaries()


def of_metric(rows: pa.Table, metric: str) -> pa.Table:
    """The rows of one metric."""
    import pyarrow as pa

    return rows.filter(pa.array(metric_codes(rows) == METRICS.index(metric)))


def metric_codes(rows: pa.Table) -> Array:
    """Each row's metric as its place in METRICS, int8. ValueError for another."""
    codes = [np.zeros(0, dtype=np.int8)]
    for chunk in rows["metric"].chunks:
        known = [METRICS.index(name) for name in chunk.dictionary.to_pylist()]
        codes.append(np.array(known, dtype=np.int8)[chunk.indices.to_numpy()])
    return np.concatenate(codes)


def in_order(hits: pa.Table) -> pa.Table:
    """Order rows by target, metric (levenshtein first), document, start, end."""
    keys = [hits[name].to_numpy() for name in ("end", "start", "document")]
    return hits.take(np.lexsort((*keys, metric_codes(hits), hits["target"].to_numpy())))
