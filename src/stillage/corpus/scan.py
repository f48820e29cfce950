"""Scan a whole corpus for near-duplicates of targets: plan, parts, final count.

A folder: `plan.json` (written first), `targets.parquet` (as they were given), `parts/`, and
`manifest.json` (written last, once every document of the corpus has been counted).
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.corpus.scan_part_file import PARTS, of_metric, part_path, read_part
from stillage.corpus.scan_parts import (
    Extent,
    Part,
    extent,
    plan_parts,
    tokens_in,
    tokens_per_part_for,
)
from stillage.corpus.scan_plan import (
    ELSEWHERE,
    FORMAT,
    PLAN,
    TARGETS,
    ScanPlan,
    ScanSettings,
    make_plan,
    read_plan,
    refuse_other_plan,
    shortest_match,
    targets_hash,
)
from stillage.corpus.scan_processes import Heard, on_processes
from stillage.corpus.scan_progress import Count
from stillage.corpus.scan_ray import check_address, cluster, load_ray, on_ray
from stillage.corpus.scan_task import ScanJob, Scanner, largest, prepare
from stillage.corpus.shards import ShardSet, check_content
from stillage.corpus.targets import Encode, read_targets, write_targets
from stillage.errors import ConfigError, DataError, listed
from stillage.run.environment import cpu_count
from stillage.run.folder import full_disk_interrupts, remove, write_json
from stillage.run.lock import locked
from stillage.run.progress import Progress

if TYPE_CHECKING:
    import pyarrow as pa

    from stillage.corpus.near_plan import NearPlan

MANIFEST = "manifest.json"
TOKENS_A_PROCESS = 1 << 25
"""Tokens that are scanned in about the time in which a process gets ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedScan:
    """A scan that can be done: nothing has been written yet."""

    plan: ScanPlan
    corpus: ShardSet
    targets: pa.Table
    parts: tuple[Part, ...]
    extent: Extent  # what there is to read: of a sample, what was drawn
    near: NearPlan  # how each place is looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """Who scans, and who is told."""

    jobs: int = 0  # processes of this machine; 0: one a core
    ray: str = ""  # auto, or the address of a cluster; "": no cluster
    say: Callable[[str], None] = print
    progress: Progress = lambda name, facts: None


def plan_corpus_scan(
    corpus: ShardSet, targets_file: Path, settings: ScanSettings, encode: Encode | None = None
) -> PlannedScan:
    """Check everything that can be checked before the corpus is read.

    encode: cuts targets that are texts. DataError for targets that cannot be looked for, a corpus
    without documents, a sample that drew none, and where no document is as long as a near-duplicate
    has to be.
    """
    tokens_Nm, targets = read_targets(targets_file, corpus.vocab_size, encode)
    if not corpus.documents:
        what, fix = "The corpus holds no documents.", "Tokenise the files that were meant."
        raise DataError(what, f"{corpus.folder}: 0 documents", fix)
    size = settings.tokens_per_part or tokens_per_part_for(corpus.tokens)
    settings = replace(settings, tokens_per_part=size)
    there = extent(corpus, settings.seed, settings.sample)
    if not there.documents:
        values = f"sample: {settings.sample} of {corpus.documents} documents, seed {settings.seed}"
        raise DataError("The sample drew no document.", values, "Raise --sample.")
    length = tokens_Nm.shape[1]
    if there.longest < shortest_match(settings, length):
        raise DataError(
            "There is no place to look at: every document is too short.",
            f"longest document: {there.longest} tokens; a near-duplicate of {length} tokens has "
            f"at least {shortest_match(settings, length)} ({settings.mode} mode)",
            "Give shorter targets, or other shards.",
        )
    text = corpus.shards[largest([len(shard.tokens_T) for shard in corpus.shards])]
    return PlannedScan(
        plan=make_plan(corpus, tokens_Nm, targets, settings),
        corpus=corpus,
        targets=targets,
        parts=tuple(plan_parts(corpus, size)),
        extent=there,
        near=prepare(settings, tokens_Nm, text.tokens_T, text.offsets_D),
    )


def do_scan(planned: PlannedScan, out: Path, hands: Hands) -> Mapping[str, Any]:
    """Scan what is not scanned yet, and return the manifest, written last.

    The same call continues after any end. Shards are compared with their hashes first, but on a
    cluster. ConfigError for a folder that holds something else;
    Interrupted for a full disk or a killed process; DataError where the parts do not cover the
    corpus.
    """
    if hands.ray:
        check_address(hands.ray)
        load_ray()
    with scan_folder_writable(out):
        refuse_foreign(out)
    with full_disk_interrupts(out), scan_folder_writable(out), locked(out):
        if not hands.ray:  # on a cluster the shards may lie anywhere, and be large
            check_content(planned.corpus, hands.progress)
        start(planned, out)
        whole = whole_parts(planned, out, hands.say)
        todo = [part for part in planned.parts if part.number not in whole]
        if whole and todo:
            hands.say(f"{len(whole)} of {len(planned.parts)} parts are there already")
        if not todo:
            hands.say(f"all {len(whole)} parts are there already: nothing was left to scan")
        else:
            tokens = sum(whole.values())
            count = Count(
                progress=hands.progress,
                of=planned.extent.tokens,
                done=tokens,
                workers=workers(planned.corpus, todo, hands),
            )
            try:
                scan_parts(todo, planned, out, hands, count.heard)
            finally:
                remove_unfinished(out)
        manifest = cover(planned, out)
        write_json(out / MANIFEST, manifest)
    return manifest


def refuse_foreign(out: Path) -> None:
    """Refuse a folder with files and no plan. ConfigError names them."""
    if not out.exists() or (out / PLAN).is_file():
        return
    foreign = [path.name for path in sorted(out.iterdir()) if not path.name.startswith(".")]
    if foreign:
        raise ConfigError(f"{out} is not empty and holds no scan.", listed(foreign), ELSEWHERE)


def start(planned: PlannedScan, out: Path) -> None:
    """Write the plan and the targets, or see that what is there is theirs."""
    if (out / PLAN).is_file():
        refuse_other_plan(read_plan(out), planned.plan, out)
    else:
        write_json(out / PLAN, {**planned.plan.decides, "corpus": planned.plan.corpus})
    if not holds_targets(out / TARGETS, planned.plan):
        write_targets(out / TARGETS, planned.targets)
    (out / PARTS).mkdir(exist_ok=True)


def holds_targets(path: Path, plan: ScanPlan) -> bool:
    """Whether the file holds the plan's targets, whole."""
    try:
        return targets_hash(read_targets(path)[1]) == plan.targets["sha256"]
    except DataError:
        return False


def whole_parts(planned: PlannedScan, out: Path, say: Callable[[str], None]) -> dict[int, int]:
    """List the finished parts of the plan, with their tokens; name parts to redo.

    ConfigError for a file that is no part: nobody may take it for one.
    """
    remove_unfinished(out)
    names = {part_path(out, part.number).name for part in planned.parts}
    foreign = [path.name for path in sorted((out / PARTS).iterdir()) if path.name not in names]
    if foreign:
        what = f"{out / PARTS} holds files of no part of this scan."
        raise ConfigError(what, listed(foreign), "Move them away.")
    whole = {}
    for part in planned.parts:
        path = part_path(out, part.number)
        if not path.exists():
            continue
        try:
            facts, _ = read_part(out, part.number)
        except DataError as error:
            say(f"{path.name} is scanned again: {error.what} {error.values}")
            continue
        if facts.plan != planned.plan.hash or facts.part != part:
            say(f"{path.name} is scanned again: it belongs to another scan")
            continue
        whole[part.number] = facts.tokens
    return whole


def remove_unfinished(out: Path) -> None:
    """Remove files that killed processes left unfinished; call it under the lock."""
    for path in (*out.glob(".tmp-*"), *(out / PARTS).glob(".tmp-*")):
        remove(path)


def scan_parts(
    parts: Sequence[Part], planned: PlannedScan, out: Path, hands: Hands, heard: Heard
) -> None:
    """Scan parts here, on processes of this machine, or on a cluster."""
    job = ScanJob(folder=out.resolve(), corpus=planned.corpus.folder.resolve())
    jobs = workers(planned.corpus, parts, hands)
    if hands.ray:
        with cluster(hands.ray, hands.jobs or cpu_count()) as ray:
            on_ray(parts, job, planned.plan.hash, heard, ray)
    elif jobs > 1:
        on_processes(parts, job, jobs, heard)
    else:
        scanner = Scanner(job, planned.near)
        for part in parts:
            heard(scanner.do(part))


def workers(corpus: ShardSet, parts: Sequence[Part], hands: Hands) -> int:
    """How many parts are scanned side by side; of another's cluster a guess."""
    usual = cpu_count() if hands.ray else useful_jobs(tokens_in(corpus, parts))
    return min(hands.jobs or usual, len(parts))


def useful_jobs(tokens: int) -> int:
    """Choose how many processes pay off: each needs seconds to compile its search."""
    return min(cpu_count(), max(1, tokens // TOKENS_A_PROCESS))


def cover(planned: PlannedScan, out: Path) -> dict[str, Any]:
    """Check that the parts cover the corpus. DataError where the counts differ.

    Returns the manifest.
    """
    scanned = {"documents": 0, "tokens": 0}
    found: dict[str, int] = dict.fromkeys(planned.plan.settings.metrics, 0)
    targets: dict[str, set[int]] = {metric: set() for metric in found}
    for part in planned.parts:
        facts, rows = read_part(out, part.number)
        if facts.plan != planned.plan.hash or facts.part != part:
            raise DataError("A part belongs to another scan.", f"{part}: {facts}", "Scan again.")
        scanned["documents"] += facts.documents
        scanned["tokens"] += facts.tokens
        for metric in found:
            targets_H = of_metric(rows, metric)["target"].to_numpy()
            found[metric] += len(targets_H)
            targets[metric].update(np.unique(targets_H).tolist())
    there = {"documents": planned.extent.documents, "tokens": planned.extent.tokens}
    if scanned != there:
        what = "The scan did not read the corpus as it is."
        fix = "Did the shards change meanwhile? Scan into another folder, and tell us if it stays."
        raise DataError(what, f"scanned: {scanned}; the shards hold: {there}", fix)
    of = {"documents": planned.corpus.documents, "tokens": planned.corpus.tokens}
    return {
        "format": FORMAT,
        "plan": planned.plan.hash,
        "parts": len(planned.parts),
        "scanned": scanned,
        "of": of,
        "found": found,
        "targets_found": {metric: len(some) for metric, some in targets.items()},
    }


@contextmanager
def scan_folder_writable(out: Path) -> Iterator[None]:
    """Say in three lines where the folder cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR):
            raise
        what, fix = f"{out} cannot be written.", "Choose another --out."
        raise ConfigError(what, f"{error.strerror}: {error.filename}", fix) from error
