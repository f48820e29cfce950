"""The numbers of a scan's report: counts with intervals, before and after rules.

Read from a finished scan and, where `stillage corpus policy` was called, its folder `policy/`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.copy_worth import Worth, published_worth
from stillage.corpus.near_counts import (
    COLUMNS,
    ScannedDocuments,
    bucket_names,
    hits_of,
    near_counts,
    own_places,
)
from stillage.corpus.scan_results import Scan, read_scan, refuse_overlaps
from stillage.errors import DataError
from stillage.run.folder import read_json, read_table
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

BEFORE = "none"  # the rule of what there is before any
POLICY = "policy"
IN_CORPUS = "in the corpus"  # the reading in which a rule is applied to all documents
READINGS = (IN_CORPUS, "against the target")
BY_TARGET = {
    "target": "int32",
    "bucket": "string",
    "count": "int64",
    "unique": "int32",
    "metric": "string",
    "own_place": "bool",
    "exact": "double",
    "near": "double",
    "worth": "double",
    "worth_low": "double",
    "worth_high": "double",
}
"""Column of `by_target` -> Arrow type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rest:
    """What one rule leaves in one reading; rule BEFORE, reading "": before any."""

    rule: str
    reading: str
    words: str  # what the rule removes
    hits: pa.Table  # without the targets' own places
    counts: Sequence[Mapping[str, Any]]  # rows of near_counts, from distance 0 on


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusView:
    """All that the page shows."""

    title: str
    scan: Scan
    scanned: ScannedDocuments
    rests: Sequence[Rest]  # first: before any rule
    found_T: Array  # bool: whose own place was found
    worth: Worth
    keep: str = ""  # which copy the rules leave
    level: float = 0.95
    texts: Mapping[int, str] = field(default_factory=dict)  # decoded targets that may be shown

    @property
    def before(self) -> Rest:
        """What there is before any rule."""
        return self.rests[0]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the scan, the report's first."""
        return self.scan.plan.settings.metrics

    @property
    def most(self) -> int:
        """The largest distance that was looked for."""
        return self.scan.plan.settings.max_distance

    @property
    def length(self) -> int:
        """Tokens of a target."""
        return self.scan.tokens_Nm.shape[1]

    @property
    def buckets(self) -> list[str]:
        """The bucket of each target."""
        return bucket_names(self.scan.targets)

    def counts(self, rest: Rest, metric: str, bucket: str) -> list[Mapping[str, Any]]:
        """Pick the rows of a metric and bucket: exact copies, then a row a distance."""
        return [row for row in rest.counts if (row["metric"], row["bucket"]) == (metric, bucket)]

    def apart(self, rest: Rest, metric: str, bucket: str) -> Mapping[str, Any]:
        """Pick the row of all near-duplicates; 0 where none was looked for."""
        row = self.counts(rest, metric, bucket)[-1]
        nothing = {"found": 0, "mean": 0.0, "documents": 0, "reason": ""}
        return row if self.most else {**row, **nothing}


def read_corpus_view(folder: Path, level: float = 0.95) -> CorpusView:
    """Read a finished scan and what rules leave of it.

    DataError: not finished. ConfigError: it kept overlaps.
    """
    scan, judged, left = read_scan(folder), {}, None
    refuse_overlaps(scan)
    if (folder / POLICY / "policy.json").is_file():
        judged = read_json(folder / POLICY / "policy.json")
        left = read_table(folder / POLICY / "survivors.parquet")
    if judged and judged["scan"] != scan.plan.hash:
        values, fix = f"{folder / POLICY}", "Run `stillage corpus policy` again."
        raise DataError("The rules were tried on another scan.", values, fix)
    return corpus_view(scan, judged, left, level)


def corpus_view(
    scan: Scan, judged: Mapping[str, Any], left: pa.Table | None, level: float = 0.95
) -> CorpusView:
    """Count what was found, and what is left.

    judged, left: the contents of policy.json and survivors.parquet; None: no rule was tried.
    """
    manifest = scan.manifest
    scanned = ScannedDocuments(
        documents=manifest["scanned"]["documents"], of=manifest["of"]["documents"]
    )
    _, found_T = own_places(scan.hits, scan.targets)
    parts = [(BEFORE, "", "", scan.hits)]
    if left is not None:
        rules, readings = (np.array(left[name].to_pylist()) for name in ("rule", "reading"))
        for rule, words in judged["rules"].items():
            for reading in READINGS:
                chosen = left.filter((rules == rule) & (readings == reading))
                parts.append((rule, reading, words, chosen))
    rests = [
        Rest(
            rule=rule,
            reading=reading,
            words=words,
            **counted_hits(scan, hits, found_T, scanned, level),
        )
        for rule, reading, words, hits in parts
    ]
    return CorpusView(
        title=scan.folder.resolve().name,
        scan=scan,
        scanned=scanned,
        rests=rests,
        found_T=found_T,
        worth=worth_of(judged) if judged else published_worth(),
        keep=judged.get("keep", ""),
        level=level,
    )


def counted_hits(
    scan: Scan, hits: pa.Table, found_T: Array, scanned: ScannedDocuments, level: float
) -> dict[str, Any]:
    """Count hits, without the targets' own places: hits and counts of a Rest."""
    import pyarrow as pa

    is_there, _ = own_places(hits, scan.targets)
    others = hits.filter(pa.array(~(is_there & found_T[hits["target"].to_numpy()])))
    counts = near_counts(
        others,
        scan.targets,
        scanned,
        metrics=scan.plan.settings.metrics,
        distances=range(scan.plan.settings.max_distance + 1),
        level=level,
    )
    return {"hits": others, "counts": counts.to_pylist()}


def worth_of(judged: Mapping[str, Any]) -> Worth:
    """The curve that the rules were judged with."""
    rho = judged["rho"]
    return Worth(
        distance_P=np.array(rho["distance"]),
        rho_MP=np.array(list(rho["rho"].values())),
        models=tuple(rho["rho"]),
        lowest=rho["measured"][0],
        highest=rho["measured"][1],
        source=rho["source"],
    )


def worth_by_target(view: CorpusView, rest: Rest, metric: str) -> Array:
    """What each target's copies are worth by each model, exact ones included.

    float64 [M, T]; of the whole corpus, whatever share was scanned.
    """
    hits = hits_of(rest.hits, metric)
    rho_MH = view.worth.by_model(hits["distance"].to_numpy() / view.length)
    target_H, targets = hits["target"].to_numpy(), len(view.scan.targets)
    sums = [np.bincount(target_H, rho_H, minlength=targets) for rho_H in rho_MH]
    return np.array(sums) * view.scanned.scale


def by_target(view: CorpusView) -> pa.Table:
    """Count each target's copies, by metric: all of the per-target table.

    Columns: target, bucket, count and unique as the targets have them, metric, own_place (found),
    exact (copies elsewhere), near (distance 1 and more), worth, worth_low, worth_high (exact-copy
    equivalents, exact ones included: mean, least and most of the models). For the whole corpus.
    """
    import pyarrow as pa

    targets, tables = view.scan.targets, []
    for metric in view.metrics:
        hits = hits_of(view.before.hits, metric)
        is_exact = hits["distance"].to_numpy() == 0
        counts = [
            np.bincount(hits["target"].to_numpy()[which], minlength=len(targets))
            * view.scanned.scale
            for which in (is_exact, ~is_exact)
        ]
        worth_MT = worth_by_target(view, view.before, metric)
        columns = {
            "target": range(len(targets)),
            "bucket": view.buckets,
            "count": targets["count"],
            "unique": targets["unique"],
            "metric": [metric] * len(targets),
            "own_place": view.found_T,
            "exact": counts[0],
            "near": counts[1],
            "worth": worth_MT.mean(axis=0),
            "worth_low": worth_MT.min(axis=0),
            "worth_high": worth_MT.max(axis=0),
        }
        tables.append(pa.table(columns, schema=by_target_schema()))
    return pa.concat_tables(tables)


def rests_table(view: CorpusView) -> pa.Table:
    """All rows of near_counts, before and after each rule, with rule and reading."""
    import pyarrow as pa

    rows = [
        {"rule": rest.rule, "reading": rest.reading, **row}
        for rest in view.rests
        for row in rest.counts
    ]
    return pa.Table.from_pylist(rows, schema=rests_schema())


def by_target_schema() -> pa.Schema:
    """The columns of `by_target`."""
    import pyarrow as pa

    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in BY_TARGET.items()])


def rests_schema() -> pa.Schema:
    """The columns of `rests_table`: rule and reading, then those of near_counts."""
    import pyarrow as pa

    kinds = {"rule": "string", "reading": "string", **COLUMNS}
    return pa.schema([(name, pa.type_for_alias(kind)) for name, kind in kinds.items()])
