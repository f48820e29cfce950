"""A finished scan, and what two rules leave of it, as files; nothing is scanned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.corpus.copy_worth import as_table, published_worth
from stillage.corpus.scan import MANIFEST
from stillage.corpus.scan_part_file import PartFacts, hits_schema, write_scan_part
from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_plan import FORMAT, PLAN, TARGETS, ScanPlan, ScanSettings, targets_hash
from stillage.corpus.targets import target_table, write_targets
from stillage.rng import generator
from stillage.run.folder import write_json, write_table

DOCUMENTS, LENGTH, MOST = 2000, 20, 8
BUCKETS = (5, 50)
EACH = 15  # targets of a bucket, and random ones


def targets() -> pa.Table:
    """EACH targets a bucket, then random ones; target t was taken from document t at 0."""
    buckets = [bucket for bucket in (*BUCKETS, None) for _ in range(EACH)]
    count = len(buckets)
    rows = {
        "target": range(count),
        "tokens": [[number * LENGTH + place for place in range(LENGTH)] for number in range(count)],
        "role": ["random" if bucket is None else "repeated" for bucket in buckets],
        "bucket": buckets,
        "count": buckets,
        "unique": [LENGTH] * count,
        "document": range(count),
        "start": [0] * count,
    }
    return target_table(rows, {})


def hits(metrics: tuple[str, ...], share: float, seed: int) -> pa.Table:
    """Own places, other exact copies and near-duplicates, each in a document of its own choice."""
    rng, rows = generator(seed, "hits"), list[tuple]()
    for metric in metrics:
        for target in range(3 * EACH):
            bucket = (*BUCKETS, 1)[target // EACH]
            places = [(target, 0)] + [(0, d) for d in [0] * (bucket - 1)]
            distances = [0] * bucket
            if bucket > 1:
                extra = rng.poisson(bucket * rng.lognormal(-0.5, 1))
                places += [(0, 0)] * extra
                distances += rng.integers(1, MOST + 1, size=extra).tolist()
            for at, distance in enumerate(distances):
                document = target if at == 0 else int(rng.integers(100, DOCUMENTS))
                start = 0 if at == 0 else int(rng.integers(0, 500)) * LENGTH
                if rng.random() < share:
                    rows.append((target, document, start, start + LENGTH, distance, metric))
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 6
    arrays = [pa.array(column) for column in columns[:5]]
    plain = pa.table([*arrays, pa.array(columns[5]).dictionary_encode()], names=hits_schema().names)
    return plain.cast(hits_schema())


def build(
    folder: Path,
    *,
    metrics: tuple[str, ...] = ("levenshtein", "hamming"),
    share: float = 1.0,
    found: pa.Table | None = None,
    rules: bool = True,
    most: int = MOST,
) -> Path:
    """Write a scan's folder. share: of the documents; found: other hits; most: the distance."""
    table, rows = targets(), hits(metrics, share, 1) if found is None else found
    settings = ScanSettings(
        max_distance=most,
        metric="both" if len(metrics) == 2 else metrics[0],  # pyright: ignore[reportArgumentType]
        sample=share,
        tokens_per_part=1 << 21,
    )
    corpus = {"documents": DOCUMENTS, "tokens": 400 * DOCUMENTS}
    plan = ScanPlan(
        settings=settings,
        vocab_size=5000,
        tokenizer="",
        shards=({"name": "shard-00000", "sha256": "0" * 64, **corpus},),
        targets={"count": len(table), "length": LENGTH, "sha256": targets_hash(table)},
        corpus="/secret/place/of/shards",
    )
    scanned = {name: round(share * number) for name, number in corpus.items()}
    write_json(folder / PLAN, {**plan.decides, "corpus": plan.corpus})
    write_targets(folder / TARGETS, table)
    part = Part(number=0, shard=0, first=0, end=DOCUMENTS)
    write_scan_part(folder, rows, PartFacts(plan=plan.hash, part=part, rows=len(rows), **scanned))
    counts = {metric: rows["metric"].to_pylist().count(metric) for metric in metrics}
    manifest = {"format": FORMAT, "plan": plan.hash, "parts": 1, "scanned": scanned, "of": corpus}
    write_json(folder / MANIFEST, {**manifest, "found": counts, "targets_found": counts})
    if rules:
        write_policy(folder, rows, plan.hash)
    return folder


def write_policy(folder: Path, rows: pa.Table, scan: str) -> None:
    """Two rules: one leaves all, the other what is farther than half the distance."""
    far = rows.filter(pa.array(rows["distance"].to_numpy() > MOST // 2))
    tables = []
    for rule, left in (("exact", rows), ("ngram:5", far)):
        for reading in ("against the target", "in the corpus"):
            plain = left.set_column(5, "metric", left["metric"].cast(pa.string()))
            told = {"rule": rule, "reading": reading}.items()
            for at, (name, value) in enumerate(told):
                plain = plain.add_column(at, name, pa.array([value] * len(plain), pa.string()))
            tables.append(plain)
    write_table(folder / "policy" / "survivors.parquet", pa.concat_tables(tables))
    judged = {
        "scan": scan,
        "keep": "first",
        "rules": {"exact": "documents equal to another", "ngram:5": "sequences of 5 tokens"},
        "rho": as_table(published_worth()),
    }
    write_json(folder / "policy" / "policy.json", judged)


def distances_of(table: pa.Table) -> dict[tuple[int, str], np.ndarray]:
    """Distances of each target's hits by metric, its own place left out."""
    found: dict[tuple[int, str], list[int]] = {
        (target, metric): [] for target in range(3 * EACH) for metric in ("levenshtein", "hamming")
    }
    numbers = zip(*(table[name].to_pylist() for name in hits_schema().names), strict=True)
    for target, document, start, _, distance, metric in numbers:
        if (document, start) != (target, 0):
            found[target, metric].append(distance)
    return {key: np.array(distances) for key, distances in found.items()}
