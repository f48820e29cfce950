"""How fast near-duplicates are found, beside the published procedure in plain Python, in one run.

    python benchmarks/scan.py [--targets 10 100 300] [--tokens 3000000] [--plant]
    python benchmarks/scan.py --books FOLDER --tokenizer tokenizer.json     text files with real near-duplicates

The published procedure (arXiv:2405.15523, its scan of SlimPajama) slides a window of the target's length over each document,
keeps the multiset overlap with each target, and measures both distances in Python wherever it allows a near-duplicate; of
overlapping ones the nearest stays. It is timed on a part of the text (--plain-tokens), ours on all of it, one core, for both
metrics; targets of 100 tokens are drawn from the text. Prints a Markdown table; every row of both finds the same.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np

from stillage.corpus.fuzzy import plan_scan, scan_with_plan
from stillage.types import Array

LENGTH, VOCABULARY, EXPONENT = 100, 50_257, 1.07
Row = tuple[str, int, int, int, int]
"""Metric, target, document, start, distance."""


def zipf_text(tokens: int, seed: int = 0) -> tuple[Array, Array]:
    """Independent tokens of a Zipf law, in documents of log-normal lengths."""
    draws = np.random.default_rng(seed)
    share = 1 / np.arange(1, VOCABULARY + 1) ** EXPONENT
    ids = np.searchsorted(np.cumsum(share / share.sum()), draws.random(tokens)).astype(np.uint16)
    lengths = draws.lognormal(6, 1, tokens).astype(np.int64) + 1
    ends = np.cumsum(lengths)
    return ids, np.concatenate([[0], ends[ends < tokens], [tokens]])


def book_text(folder: Path, tokenizer: Path) -> tuple[Array, Array]:
    """The text files of a folder, a document a paragraph group of some 500 tokens."""
    from tokenizers import Tokenizer

    rules = Tokenizer.from_file(str(tokenizer))
    files = [
        path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*.txt"))
    ]
    ids = [encoding.ids for encoding in rules.encode_batch_fast(files, add_special_tokens=False)]
    return np.concatenate([np.array(one, np.uint16) for one in ids]), np.cumsum([0, *map(len, ids)])


def draw_targets(tokens: Array, offsets: Array, count: int, seed: int = 1) -> Array:
    """Windows drawn from all of a text, each within a document."""
    starts = np.concatenate([np.arange(low, high - LENGTH + 1) for low, high in pairwise(offsets)])
    chosen = np.random.default_rng(seed).choice(starts, count, replace=False)
    return np.stack([tokens[at : at + LENGTH] for at in chosen])


def changed_copies(tokens: Array, targets: Array, seed: int = 2) -> Array:
    """The text with near-copies of targets planted, so that there is something to measure."""
    draws = np.random.default_rng(seed)
    tokens = tokens.copy()
    for number in range(0, len(tokens) // 20_000):
        at = draws.integers(0, len(tokens) - LENGTH)
        copy = targets[number % len(targets)].copy()
        changed = draws.integers(0, LENGTH, draws.integers(0, 40))
        copy[changed] = draws.integers(0, VOCABULARY, len(changed))
        tokens[at : at + LENGTH] = copy
    return tokens


def levenshtein(left: Sequence[int], right: Sequence[int]) -> int:
    """Edit distance by the table, row by row."""
    row = list(range(len(right) + 1))
    for i, one in enumerate(left, start=1):
        before, row[0] = row[0], i
        for j, other in enumerate(right, start=1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def published(tokens: Array, offsets: Array, targets: Array, limit: int) -> tuple[list[Row], int]:
    """The published procedure: near-duplicates, and how many windows were measured."""
    found, measured = [], 0
    wanted = [Counter(target.tolist()) for target in targets]
    for document, (low, high) in enumerate(pairwise(offsets)):
        text = tokens[low:high].tolist()
        for number, target in enumerate(targets.tolist()):
            need, counts, overlap, near = wanted[number], Counter[int](), 0, []
            for at, token in enumerate(text):
                if token in need:
                    overlap += counts[token] < need[token]
                    counts[token] += 1
                if at >= LENGTH:
                    gone = text[at - LENGTH]
                    if gone in need:
                        counts[gone] -= 1
                        overlap -= counts[gone] < need[gone]
                if at >= LENGTH - 1 and LENGTH - overlap <= limit:
                    start = at - LENGTH + 1
                    window = text[start : at + 1]
                    measured += 1
                    hamming = sum(a != b for a, b in zip(target, window, strict=True))
                    near.append(("hamming", hamming, start))
                    near.append(("levenshtein", levenshtein(target, window), start))
            for metric in ("hamming", "levenshtein"):
                hits = sorted((d, s) for name, d, s in near if name == metric and d <= limit)
                while hits:
                    distance, start = hits[0]
                    found.append((metric, number, document, start, distance))
                    hits = [hit for hit in hits if abs(hit[1] - start) >= LENGTH]
    return sorted(found), measured


def ours(
    tokens: Array, offsets: Array, targets: Array, limit: int, mode: str
) -> tuple[list[Row], float, str]:
    """The rows of our search, seconds without compiling, and the filter chosen."""
    plan = plan_scan(tokens, offsets, targets, max_distance=limit, metric="both", mode=mode)  # type: ignore[arg-type]
    scan_with_plan(tokens[: offsets[1]], offsets[:2], plan)  # compiles
    seconds, table = [], scan_with_plan(tokens, offsets, plan)
    for _ in range(3):
        begun = time.perf_counter()
        scan_with_plan(tokens, offsets, plan)
        seconds.append(time.perf_counter() - begun)
    columns = [
        table[name].to_pylist() for name in ("metric", "target", "document", "start", "distance")
    ]
    return sorted(zip(*columns, strict=True)), min(seconds), plan.summary()


def timed(call: Callable[[], tuple[list[Row], int]]) -> tuple[list[Row], int, float]:
    """The result and its seconds."""
    begun = time.perf_counter()
    rows, measured = call()
    return rows, measured, time.perf_counter() - begun


def main() -> None:
    """Compare, and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--targets", type=int, nargs="*", default=[10, 100, 300])
    parser.add_argument("--tokens", type=int, default=3_000_000)
    parser.add_argument("--plain-tokens", type=int, default=60_000)
    parser.add_argument(
        "--plant", action="store_true", help="near-copies of targets in the Zipf text"
    )
    parser.add_argument("--books", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    chosen = parser.parse_args()
    text = book_text(chosen.books, chosen.tokenizer) if chosen.books else zipf_text(chosen.tokens)
    print(
        f"{len(text[0]):,} tokens in {len(text[1]) - 1:,} documents, {os.environ['OMP_NUM_THREADS']} core\n"
    )
    print(
        "| targets | k, mode | ours, tokens/s | published, tokens/s | ratio | hits | filter |\n|---|---|---|---|---|---|---|"
    )
    for count in chosen.targets:
        tokens, offsets = text
        targets = draw_targets(tokens, offsets, count)
        if chosen.plant and not chosen.books:
            tokens = changed_copies(tokens, targets)
        part = np.append(offsets[offsets < chosen.plain_tokens], chosen.plain_tokens)
        for limit, mode in ((50, "window"), (20, "window"), (50, "substring")):
            rows, seconds, how = ours(tokens, offsets, targets, limit, mode)
            line = f"| {count} | {limit}, {mode} | {len(tokens) / seconds:,.0f} |"
            if mode == "window":
                plain, measured, plain_s = timed(
                    lambda limit=limit: published(tokens[: part[-1]], part, targets, limit)  # noqa: B023
                )
                speed = part[-1] / plain_s
                assert plain == [
                    row for row in ours(tokens[: part[-1]], part, targets, limit, mode)[0]
                ]
                line += f" {speed:,.0f} ({measured} windows measured) | {len(tokens) / seconds / speed:,.0f} |"
            else:
                line += " - | - |"
            print(f"{line} {len(rows)} | {how} |", flush=True)


if __name__ == "__main__":
    main()
