"""Whether a scan stays as fast and as small as the corpus grows, and what a second process brings, in one run.

    python benchmarks/scan_scale.py [--sizes 1e7 1e8] [--jobs 1 2] [--targets 300] [--max-distance 50] [--folder DIR]

Makes a Zipf corpus of each size (V = 50,257, exponent 1.07; 2 bytes a token on disk, removed at the end), shard by
shard, and runs `stillage corpus scan` on it. Speed: tokens a second between the first parts and the last, so that start
and compilation count for nothing; the whole time stands beside it. Memory: the peak, over all processes of the scan, of
what is their own (anonymous) and of what is mapped from files (pages that the system takes back when it needs them; one
that two processes map counts twice). Wanted: both flat from 1e7 to 1e9 tokens, and 1.8 times the speed with two
processes on two free cores. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from stillage.corpus.scan_part_file import read_part
from stillage.corpus.shards import FORMAT, MANIFEST
from stillage.corpus.token_file import write_tokens
from stillage.run.folder import sha256_file, write_json
from stillage.types import Array

VOCABULARY, EXPONENT, LENGTH = 50_257, 1.07, 100
SHARD_TOKENS, BLOCK_TOKENS, PART_TOKENS = 100_000_000, 1 << 22, 1 << 20
PLANTED_EVERY = 1_000_000  # tokens: a copy of a target with a fifth of its tokens changed
QUANTILES = 1 << 22  # draws from a table of so many quantiles take a tenth of the time of a search
POLL_S = 0.1


def zipf_table() -> Array:
    """The token at each of QUANTILES equally likely places."""
    share = 1 / np.arange(1, VOCABULARY + 1) ** EXPONENT
    places = (np.arange(QUANTILES) + 0.5) / QUANTILES
    found = np.searchsorted(np.cumsum(share / share.sum()), places)
    return np.minimum(found, VOCABULARY - 1).astype(np.uint16)


def documents(tokens: int, targets: Array, seed: int) -> Iterator[Array]:
    """Documents of log-normal lengths (mean 665), so many tokens in all."""
    rng, table, left = np.random.default_rng(seed), zipf_table(), tokens
    while left > 0:
        block = table[rng.integers(0, QUANTILES, min(BLOCK_TOKENS, left), dtype=np.uint32)]
        for place in range(0, len(block) - LENGTH, PLANTED_EVERY):
            changed = targets[rng.integers(len(targets))].copy()
            changed[rng.choice(LENGTH, LENGTH // 5, replace=False)] = table[
                rng.integers(0, QUANTILES, LENGTH // 5)
            ]
            block[place : place + LENGTH] = changed
        lengths = np.maximum(rng.lognormal(6, 1, len(block) // 300 + 9).astype(np.int64), 1)
        ends = np.minimum(np.cumsum(lengths), len(block))
        first = 0
        for end in np.unique(np.append(ends, len(block))).tolist():
            yield block[first:end]
            first = end
        left -= len(block)


def make_corpus(folder: Path, tokens: int, targets: Array) -> None:
    """Write shards of SHARD_TOKENS each, without the tables of their documents' sources."""
    entries = []
    for number, first in enumerate(range(0, tokens, SHARD_TOKENS)):
        path = folder / f"shard-{number:05d}.safetensors"
        made = documents(min(SHARD_TOKENS, tokens - first), targets, seed=number)
        count, size = write_tokens(path, made, vocab_size=VOCABULARY, about={})
        entries.append(
            {"name": path.stem, "documents": count, "tokens": size, "sha256": sha256_file(path)}
        )
    facts = {"format": FORMAT, "vocab_size": VOCABULARY, "tokenizer": "", "shards": entries}
    write_json(folder / MANIFEST, facts)


def memory_of(pid: int) -> tuple[int, int]:
    """KiB of a process and its children: their own, and mapped from files."""
    own = mapped = 0
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for process in (str(pid), *children):
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
            sizes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
            own += sizes["Anonymous"]
            mapped += sizes["Rss"] - sizes["Anonymous"]
    except (OSError, KeyError):  # it ended meanwhile
        return 0, 0
    return own, mapped


def measure(shards: Path, targets: Path, out: Path, jobs: int, most: int) -> dict[str, float]:
    """Run a scan: tokens a second, seconds, peak MiB own and mapped, near-duplicates."""
    words = f"corpus scan {shards} --targets {targets} --out {out} --max-distance {most}"
    words += f" --jobs {jobs} --tokens-per-part {PART_TOKENS}"
    started, peak = time.monotonic(), np.zeros(2)
    process = subprocess.Popen(
        [sys.executable, "-m", "stillage", *words.split()],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None:
        peak = np.maximum(peak, memory_of(process.pid))
        time.sleep(POLL_S)
    took_s = time.monotonic() - started
    assert process.returncode == 0, process.returncode
    manifest = json.loads((out / "manifest.json").read_text())
    facts = [read_part(out, number)[0] for number in range(manifest["parts"])]
    ended_s = [path.stat().st_mtime for path in sorted((out / "parts").iterdir())]
    order = np.argsort(ended_s)
    tokens = np.array([fact.tokens for fact in facts])[order]
    spent_s = ended_s[order[-1]] - ended_s[order[jobs - 1]]  # from when each has done a part
    return {
        "tokens_per_s": tokens[jobs:].sum() / max(spent_s, 1e-9),
        "took_s": took_s,
        "own_MiB": peak[0] / 1024,
        "mapped_MiB": peak[1] / 1024,
        "found": sum(manifest["found"].values()),
    }


def main() -> None:
    """Print a row for each size and number of processes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", type=float, nargs="+", default=[1e7, 1e8])
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--targets", type=int, default=300)
    parser.add_argument("--max-distance", type=int, default=50)
    parser.add_argument("--folder", type=Path, default=None, help="where the corpus lies meanwhile")
    chosen = parser.parse_args()
    rng = np.random.default_rng(1)
    targets = zipf_table()[rng.integers(0, QUANTILES, (chosen.targets, LENGTH))]
    print(
        "| tokens | processes | tokens/s | against 1 | whole time, s | own memory, MiB | mapped, MiB | found |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    for size in map(int, chosen.sizes):
        with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
            folder = Path(name)
            (folder / "targets.jsonl").write_text(
                "".join(f"{json.dumps(ids)}\n" for ids in targets.tolist())
            )
            make_corpus(folder / "shards", size, targets)
            alone = None
            for jobs in chosen.jobs:
                row = measure(
                    folder / "shards",
                    folder / "targets.jsonl",
                    folder / f"scan-{jobs}",
                    jobs,
                    chosen.max_distance,
                )
                alone = alone or row["tokens_per_s"]
                cells = f"{row['tokens_per_s']:,.0f} | {row['tokens_per_s'] / alone:.2f} | {row['took_s']:.0f}"
                cells += (
                    f" | {row['own_MiB']:,.0f} | {row['mapped_MiB']:,.0f} | {row['found']:,.0f}"
                )
                print(f"| {size:,} | {jobs} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
