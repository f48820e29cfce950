"""`stillage corpus scan SHARDS`: find all near-duplicates of some targets."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from stillage.errors import ConfigError

if TYPE_CHECKING:
    from stillage.corpus.scan import PlannedScan
    from stillage.corpus.scan_plan import ScanSettings
    from stillage.corpus.shards import ShardSet
    from stillage.corpus.targets import Encode

NAMES = ("SHARDS",)


@dataclass(frozen=True, kw_only=True)
class ScanFlags:
    """What is looked for, where it is written, and who looks."""

    targets: str = ""
    """Sequences to look for, all of one length: the --out of `corpus targets`, or JSON lines. A
    line is [1, 2, 3] or {"tokens": [1, 2, 3]}; with --tokenizer {"text": "a text"} too."""
    tokenizer: str = ""
    """The tokenizer of the corpus, for targets that are texts: a tokenizer.json, or a model's
    folder or hub id."""
    revision: str = ""
    """Commit of a hub id: 40 hexadecimal digits."""
    max_distance: int | None = None
    """How many tokens may differ; 0: exact copies."""
    out: str = ""
    """The folder for what is found; the same command again continues there."""
    metric: Literal["levenshtein", "hamming", "both"] = "levenshtein"
    """What counts as a difference: also a token too many or too few, or another one alone."""
    mode: Literal["window", "substring"] = "window"
    """window: pieces as long as the target; substring: pieces of any length."""
    keep_overlaps: bool = False
    """Keep every piece; otherwise of overlapping ones the nearest, the earliest on ties. `report`
    and `policy` refuse a scan with overlaps."""
    jobs: int = 0
    """Processes on this machine; 0: one a core, fewer where there is little to scan."""
    ray: str = ""
    """Scan on a ray cluster: its HOST:PORT, or auto for the one that runs here, or a new one."""
    sample: float = 1.0
    """Share of the documents that is drawn at random and scanned; 1: all of them."""
    seed: int = 0
    """Decides which documents a sample holds."""
    tokens_per_part: int = 0
    """Tokens between two files of what was found; 0: by the size of the corpus."""
    dry_run: bool = False
    """Say what would be scanned, check it, and scan nothing."""


SETTINGS = ScanFlags


def main(paths: list[str], chosen: ScanFlags) -> int:
    """Plan, say so, scan, and say what was found."""
    from stillage.cli.board import Board
    from stillage.corpus.scan import Hands, do_scan, plan_corpus_scan
    from stillage.corpus.scan_plan import PLAN, read_plan, refuse_other_plan
    from stillage.corpus.shards import open_shards
    from stillage.run.stop import watch_signals

    settings = scan_settings(chosen)
    corpus = open_shards(Path(paths[0]))
    planned = plan_corpus_scan(corpus, Path(chosen.targets), settings, encoder(corpus, chosen))
    say("\n".join(planned_lines(planned, chosen)))
    out = Path(chosen.out)
    if chosen.dry_run:
        if chosen.out and (out / PLAN).is_file():
            refuse_other_plan(read_plan(out), planned.plan, out)
        return 0
    with watch_signals(), Board() as board:
        hands = Hands(jobs=chosen.jobs, ray=chosen.ray, say=board.say, progress=board.show)
        manifest = do_scan(planned, out, hands)
    print("\n".join(found_lines(out, planned, manifest)))
    return 0


def say(text: str) -> None:
    """Print to standard error, at once."""
    print(text, file=sys.stderr, flush=True)


def encoder(corpus: ShardSet, chosen: ScanFlags) -> Encode | None:
    """Return what cuts targets that are texts; DataError: not the corpus's own."""
    from stillage.cli.corpus_count import own_tokenizer

    if not chosen.tokenizer:
        return None
    tokenizer = own_tokenizer(corpus, chosen.tokenizer, chosen.revision)
    return lambda text: tokenizer.encode(text, add_special_tokens=False).ids


def scan_settings(chosen: ScanFlags) -> ScanSettings:
    """Gather the flags that decide what is found. ConfigError: one is missing."""
    from stillage.corpus.scan_plan import ScanSettings

    absent = [name for name in ("targets", "out") if not getattr(chosen, name)]
    absent = [name for name in absent if not (name == "out" and chosen.dry_run)]
    absent += ["max-distance"] if chosen.max_distance is None else []
    if absent or chosen.max_distance is None:
        given = f"not given: {', '.join(f'--{name}' for name in absent)}"
        fix = "stillage corpus scan SHARDS --targets F --max-distance K --out DIR"
        raise ConfigError("What is to be looked for, how near, and written where?", given, fix)
    if chosen.jobs < 0:
        raise ConfigError("No scan runs on such processes.", f"--jobs {chosen.jobs}", "0: by size.")
    return ScanSettings(
        max_distance=chosen.max_distance,
        metric=chosen.metric,
        mode=chosen.mode,
        suppress_overlaps=not chosen.keep_overlaps,
        tokens_per_part=chosen.tokens_per_part,
        sample=chosen.sample,
        seed=chosen.seed,
    )


def planned_lines(planned: PlannedScan, chosen: ScanFlags) -> list[str]:
    """What will be scanned, for what, how, and by whom: a line each."""
    from stillage.corpus.scan import useful_jobs

    corpus, settings, targets = planned.corpus, planned.plan.settings, planned.plan.targets
    read = f"{planned.extent.documents:,} documents, {planned.extent.tokens:,} tokens"
    if settings.sample < 1:
        read += f", a random sample of {corpus.documents:,} documents, {corpus.tokens:,} tokens"
    kinds, many = " and ".join(settings.metrics), len(corpus.shards) != 1
    jobs = min(chosen.jobs or useful_jobs(corpus.tokens), len(planned.parts))
    where = f"on ray ({chosen.ray})" if chosen.ray else f"{jobs} process{'es' * (jobs != 1)}"
    return [
        f"corpus: {read}, {len(corpus.shards)} shard{'s' * many} ({corpus.folder})",
        f"targets: {targets['count']:,} of {targets['length']} tokens ({chosen.targets})",
        f"looking for: {kinds} distance up to {settings.max_distance}, {settings.mode} mode",
        f"how: {planned.near.summary()}",
        f"parts: {len(planned.parts):,} of up to {settings.tokens_per_part:,} tokens, {where}",
    ]


def found_lines(out: Path, planned: PlannedScan, manifest: Mapping[str, Any]) -> list[str]:
    """What was found and read, and where it lies."""
    scanned, of, settings = manifest["scanned"], manifest["of"], planned.plan.settings
    among = "exact copies and the targets' own places among them"
    if not settings.suppress_overlaps:
        among = f"overlapping ones, {among}"
    lines = [
        f"{metric}: {count:,} piece{'s' * (count != 1)}, {among}, of "
        f"{manifest['targets_found'][metric]:,} of {planned.plan.targets['count']:,} targets"
        for metric, count in manifest["found"].items()
    ]
    read = f"{scanned['documents']:,} of {of['documents']:,} documents"
    lines.append(f"scanned: {read}, {scanned['tokens']:,} of {of['tokens']:,} tokens")
    if settings.sample < 1:
        share = 100 * scanned["documents"] / of["documents"]
        lines.append(f"a sample: {share:.2f} % of the documents; the others were not read")
    then = "report and policy need a scan without --keep-overlaps"
    if settings.suppress_overlaps:
        then = f"stillage corpus report {out}"
    return [*lines, f"written: {out} ({then})"]
