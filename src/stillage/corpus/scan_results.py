"""Read a finished scan: its targets, its hits, and how much was scanned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.corpus.scan import MANIFEST
from stillage.corpus.scan_part_file import in_order, join_hits, read_part
from stillage.corpus.scan_plan import TARGETS, ScanPlan, read_plan, targets_hash
from stillage.corpus.targets import read_targets
from stillage.errors import ConfigError, DataError
from stillage.run.folder import read_json
from stillage.types import Array

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """A finished scan.

    hits: target int32 (row of targets), document int64 (through all shards), start and end int64
    (tokens from the document's first), distance int32, metric (dictionary of strings); ordered by
    target, metric (levenshtein first), document, start. manifest: `scanned` and `of` (documents,
    tokens of each), `found` and `targets_found` (near-duplicates, and targets that have one, by
    metric), `parts`. Of a sample `scanned` counts what was drawn, documents without a hit
    included: each independently with probability plan.settings.sample.
    """

    folder: Path
    plan: ScanPlan
    targets: pa.Table  # as they were given
    tokens_Nm: Array  # theirs, uint32
    hits: pa.Table
    manifest: Mapping[str, Any]

    @property
    def share(self) -> float:
        """The share of the corpus's documents that was scanned: 1 but for a sample."""
        return self.manifest["scanned"]["documents"] / self.manifest["of"]["documents"]


def refuse_overlaps(scan: Scan) -> None:
    """ConfigError for a scan with overlapping pieces: one copy would count many times."""
    if not scan.plan.settings.suppress_overlaps:
        what = "Overlapping pieces of one copy would each count as a copy."
        values = f"scanned with --keep-overlaps: {scan.folder}"
        fix = "Scan without --keep-overlaps into another folder, and give that one."
        raise ConfigError(what, values, fix)


def read_scan(folder: Path) -> Scan:
    """Read a finished scan, every part checked.

    DataError where it was not finished, or where a file is damaged or of another scan.
    """
    plan, path = read_plan(folder), folder / MANIFEST
    fix = "Run the command that made it again: it continues."
    if not path.is_file():
        raise DataError("The scan is not finished.", f"looked for: {path}", fix)
    try:
        manifest = read_json(path)
        held = {name: dict(manifest[name]) for name in ("scanned", "of", "found", "targets_found")}
        manifest = {**manifest, **held, "parts": int(manifest["parts"])}
    except (KeyError, TypeError, ValueError) as error:
        values = f"{path}: {type(error).__name__}: {error}"
        raise DataError("The manifest of the scan is damaged.", values, fix) from error
    if manifest.get("plan") != plan.hash:
        raise DataError("The manifest is of another scan.", str(path), fix)
    tokens_Nm, targets = read_targets(folder / TARGETS)
    if targets_hash(targets) != plan.targets["sha256"]:
        raise DataError("The targets are of another scan.", str(folder / TARGETS), fix)
    tables = []
    for number in range(manifest["parts"]):
        facts, rows = read_part(folder, number)
        if facts.plan != plan.hash:
            values = f"part {number} of {folder}"
            raise DataError("A part belongs to another scan.", values, fix)
        tables.append(rows)
    hits = join_hits(tables)
    if len(hits) != sum(manifest["found"].values()):
        values = f"{len(hits)} rows; manifest: {manifest['found']}"
        raise DataError("The parts are not those that were counted.", values, fix)
    return Scan(
        folder=folder,
        plan=plan,
        targets=targets,
        tokens_Nm=tokens_Nm,
        hits=in_order(hits),
        manifest=manifest,
    )
