"""Apply deduplication rules to a finished scan, and write what survives.

In the scan's folder `policy/`: `policy.parquet` (survivors by rule, reading, metric, target and
distance, with their worth), `survivors.parquet` (each of them), `policy.json` (sums, and what made
them); and what each rule removes, kept so that the next call need not look again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.copy_worth import Worth, as_table
from stillage.corpus.cuts import read_spans
from stillage.corpus.dedup import made_once
from stillage.corpus.dedup_rules import Keep, Rule, check_rules, rule_spans
from stillage.corpus.exact_copies import document_lengths
from stillage.corpus.fuzzy import scan
from stillage.corpus.pace import paced, unseen
from stillage.corpus.policy import (
    BEFORE,
    Search,
    Survivors,
    against_target,
    in_corpus,
    plain_hits,
    summary_row,
    worth_rows,
)
from stillage.corpus.scan_results import Scan, refuse_overlaps
from stillage.corpus.shards import ShardSet, open_shards
from stillage.errors import DataError
from stillage.run.folder import write_json, write_table
from stillage.run.lock import locked
from stillage.run.progress import Progress
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa

FOLDER = "policy"
SPANS = "spans"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What is tried on a scan."""

    rules: tuple[Rule, ...]
    keep: Keep
    worth: Worth


def apply_policy(
    scan_of: Scan, corpus: ShardSet, policy: Policy, progress: Progress = unseen
) -> dict[str, Any]:
    """Apply each rule in both readings, and write what is left.

    Returns the content of policy.json. Each rule is judged on the corpus as it was. What a rule
    removes is found once. ConfigError for a scan that kept overlaps.
    """
    refuse_overlaps(scan_of)
    out, length = scan_of.folder / FOLDER, scan_of.tokens_Nm.shape[1]
    check_rules(corpus, policy.rules)
    with locked(out):
        found = [Survivors(rule=BEFORE, reading="", hits=scan_of.hits)]
        for rule in policy.rules:
            path = out / SPANS / f"{rule.text.replace(':', '-')}-keep-{policy.keep}.parquet"
            tell = paced(progress, rule.text, "{} tokens compared", corpus.tokens)
            spans = read_spans(
                made_once(
                    path, lambda rule=rule, tell=tell: rule_spans(corpus, rule, policy.keep, tell)
                )
            )
            search = as_scanned(scan_of)
            hits = scan_of.hits
            cut = np.intersect1d(hits["document"].to_numpy(), spans.documents_S)
            again = int(document_lengths(corpus)[cut].sum())
            seen = paced(progress, rule.text, "{} tokens scanned again", again)
            kept = {
                "against the target": against_target(corpus, hits, scan_of.tokens_Nm, rule),
                "in the corpus": in_corpus(corpus, hits, spans, search, seen),
            }
            found += [
                Survivors(rule=rule.text, reading=reading, hits=table)
                for reading, table in kept.items()
            ]
        result = policy_facts(scan_of, policy, found)
        write_table(out / "survivors.parquet", survivor_table(found))
        rows = [worth_rows(one, length, policy.worth) for one in found]
        write_table(out / "policy.parquet", join_tables(rows))
        write_json(out / "policy.json", result)
    return result


def scanned_corpus(scan_of: Scan, place: Path | None = None) -> ShardSet:
    """Open the shards that were scanned.

    place: their folder now; None: the folder of the scan's plan.
    DataError where they are not those of the scan.
    """
    corpus = open_shards(place or Path(scan_of.plan.corpus))
    hashes = [shard.sha256 for shard in corpus.shards]
    if hashes != [shard["sha256"] for shard in scan_of.plan.shards]:
        values = f"scan: {scan_of.folder}; shards: {corpus.folder}"
        fix = "Give the shards that were scanned (--shards DIR), or scan these."
        raise DataError("The shards are not those of the scan.", values, fix)
    return corpus


def as_scanned(scan_of: Scan) -> Search:
    """The scan of other documents, with the same settings."""
    settings = scan_of.plan.settings

    def search(tokens: Array, offsets: Array, metric: str) -> pa.Table:
        return scan(
            tokens,
            offsets,
            scan_of.tokens_Nm,
            max_distance=settings.max_distance,
            metric=metric,  # pyright: ignore[reportArgumentType]
            mode=settings.mode,
        )

    return search


def policy_facts(scan_of: Scan, policy: Policy, found: Sequence[Survivors]) -> dict[str, Any]:
    """Sums of each rule and reading, and what they were made with."""
    settings, length = scan_of.plan.settings, scan_of.tokens_Nm.shape[1]
    return {
        "scan": scan_of.plan.hash,
        "share_scanned": scan_of.share,  # counts are of that share, not scaled up
        "targets": len(scan_of.tokens_Nm),
        "target_tokens": length,
        "max_distance": settings.max_distance,
        "mode": settings.mode,
        "keep": policy.keep,
        "rest": "split",
        "rules": {rule.text: rule.in_words() for rule in policy.rules},
        "rho": as_table(policy.worth),
        "rows": [
            summary_row(one, metric, length, policy.worth)
            for metric in settings.metrics
            for one in found
        ],
    }


def survivor_table(found: Sequence[Survivors]) -> pa.Table:
    """Every survivor, as a hit of a scan, with its rule and reading."""
    import pyarrow as pa

    tables = []
    for one in found:
        hits = plain_hits(one.hits)
        for at, (name, value) in enumerate((("rule", one.rule), ("reading", one.reading))):
            hits = hits.add_column(at, name, pa.array([value] * len(hits), pa.string()))
        tables.append(hits)
    return join_tables(tables)


def join_tables(tables: Sequence[pa.Table]) -> pa.Table:
    """Tables of the same columns, one after the other, with the types of the first."""
    import pyarrow as pa

    return pa.concat_tables([table.cast(tables[0].schema) for table in tables]).combine_chunks()
