"""All maximal repeats of an indexed corpus, beside libdivsufsort on the same bytes: one run, same machine.

Two corpora of the same size, each as 1 and as 4 shards: words by Zipf's law with copied documents and passages, and
1,000 copies of one long document. What is timed: repeats of 50 tokens and their counts, the share of repeated tokens,
and what deduplication removes; not the index (it is shown), nor the compilation.

    python -P benchmarks/repeats.py [--tokens 10000000] [--shards 1 4] [--length 50]

-P: numba would else take the folder `coverage` beside this file for the package of that name.
Prints JSON: tokens per second of processor time, the ratio to those of libdivsufsort, and the largest memory of the
process's own (files that it maps not counted).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.corpus.indexed_parts import indexed_parts, sorted_arrays
from stillage.corpus.merge import BLOCK, join_parts
from stillage.corpus.removal import joined_removal
from stillage.corpus.repeats import joined_repeats
from stillage.corpus.shard_index import index_shards
from stillage.corpus.shards import FORMAT, MANIFEST, open_shards
from stillage.corpus.similar import joined_similar
from stillage.corpus.suffix_array import sort_bytes
from stillage.corpus.token_file import write_tokens
from stillage.run.folder import sha256_file, write_json, write_table

VOCABULARY, EXPONENT = 50_257, 1.07
COPIES = 1000


def zipf_documents(tokens: int) -> list[np.ndarray]:
    """Documents of 20 to 2,000 tokens; a tenth holds a passage of an earlier one, a twentieth is one again."""
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, VOCABULARY + 1) ** EXPONENT
    stream = np.searchsorted(np.cumsum(weights) / weights.sum(), rng.random(tokens)).astype(
        np.uint16
    )
    cuts = np.cumsum(rng.integers(20, 2000, size=tokens // 1000))
    documents = np.split(stream, cuts[cuts < tokens])
    for number in range(1, len(documents)):
        other = documents[rng.integers(number)]
        if rng.random() < 0.05:
            documents[number] = other.copy()
        elif rng.random() < 0.1:
            size = min(len(other), len(documents[number]), int(rng.integers(20, 500)))
            documents[number][-size:] = other[:size]
    return documents


def copied_documents(tokens: int) -> list[np.ndarray]:
    """One document, 1,000 times."""
    rng = np.random.default_rng(1)
    text = rng.integers(0, VOCABULARY, tokens // COPIES).astype(np.uint16)
    return [text] * COPIES


CORPORA: dict[str, Callable[[int], list[np.ndarray]]] = {
    "zipf": zipf_documents,
    "1000 copies": copied_documents,
}


def write_shards(folder: Path, documents: list[np.ndarray], shards: int) -> None:
    """Write the documents as so many shards, without a tokenizer."""
    entries = []
    cuts = [len(documents) * number // shards for number in range(shards + 1)]
    for number in range(shards):
        name = f"shard-{number:05d}"
        path = folder / f"{name}.safetensors"
        part = documents[cuts[number] : cuts[number + 1]]
        count, tokens = write_tokens(path, part, vocab_size=VOCABULARY, about={})
        ids = [f"d{one}" for one in range(cuts[number], cuts[number + 1])]
        table = pa.table({"id": ids, "source": ["made"] * count, "line": [0] * count})
        write_table(folder / f"{name}.documents.parquet", table)
        entries.append(
            {"name": name, "documents": count, "tokens": tokens, "sha256": sha256_file(path)}
        )
    manifest = {"format": FORMAT, "vocab_size": VOCABULARY, "tokenizer": "", "shards": entries}
    write_json(folder / MANIFEST, manifest)


def own_memory_mib() -> float:
    """What the process holds of its own, without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def measure(folder: Path, length: int) -> dict[str, object]:
    """Time the passes over an indexed corpus in this process."""
    joined_small = sorted_arrays(
        np.zeros(4 * length, dtype=np.uint16), np.array([0, 2, 4]) * length
    )  # compiles
    joined = indexed_parts(open_shards(folder))
    largest = 0.0

    def look(_done: int, _of: int) -> None:
        nonlocal largest
        largest = max(largest, own_memory_mib())

    two = join_parts(joined_small.parts * 2)
    facts: dict[str, object] = {}
    passes = {
        "repeats": lambda part: joined_repeats(part, min_length=length, progress=look).num_rows,
        "share": lambda part: round(joined_similar(part, length, look).share, 4),
        "removal": lambda part: joined_removal(part, length, "first", look).num_rows,
    }
    for name, work in passes.items():
        work(joined_small)
        work(two)
        before, largest = own_memory_mib(), 0.0
        started = time.process_time()
        found = work(joined)
        passed = time.process_time() - started
        look(0, 0)
        facts[name] = {
            "found": found,
            "tokens_per_s": round(joined.tokens / passed),
            "memory_mib": round(largest - before),
        }
    return facts


def main() -> None:
    """Make both corpora, measure each in a process of its own, print the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--tokens", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--length", type=int, default=50)
    parser.add_argument("--child", type=Path)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(measure(chosen.child, chosen.length)))
        return
    result: dict[str, object] = {"tokens": chosen.tokens, "length": chosen.length, "block": BLOCK}
    for name, make in CORPORA.items():
        documents = make(chosen.tokens)
        text = np.concatenate(documents).view(np.uint8)
        started = time.process_time()
        sort_bytes(text)
        bare = len(text) // 2 / (time.process_time() - started)
        rows: dict[str, object] = {"libdivsufsort_tokens_per_s": round(bare)}
        result[name] = rows
        for shards in chosen.shards:
            rows[f"{shards} shards"] = measured(documents, shards, chosen.length, bare)
    print(json.dumps(result, indent=1))


def measured(
    documents: list[np.ndarray], shards: int, length: int, bare: float
) -> dict[str, object]:
    """Write, index and measure one corpus; ratios to the bare sort's tokens/s."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_shards(folder, documents, shards)
        corpus = open_shards(folder)
        started = time.process_time()
        index_shards(corpus)
        indexed = corpus.tokens / (time.process_time() - started)
        words = [sys.executable, "-P", __file__, "--child", place, "--length", str(length)]
        facts = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout)
    for row in facts.values():
        row["ratio"] = round(row["tokens_per_s"] / bare, 2)
    return {"index_tokens_per_s": round(indexed)} | facts


if __name__ == "__main__":
    main()
