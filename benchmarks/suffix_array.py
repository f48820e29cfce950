"""What the index of a shard costs beside bare libdivsufsort on its bytes, and what counts and targets cost.

One run, the two sides by turns: the suffix array with its shared prefixes (`suffix_array`), and the same with everything
that `stillage corpus index` does besides (hash, files). Counts are of sequences taken from the corpus, of 1 to 100 tokens,
one call each; cold: the files' pages are dropped from memory before each call (as far as the system obeys).
Ratios are of processor seconds.

    python benchmarks/suffix_array.py [--tokens 1e7] [--shards 1] [--books FOLDER --tokenizer tokenizer.json] [--folder TMP]

Tokens are of a Zipf law (50,257 ids, exponent 1.07) in documents of 1,000, one in 50 a copy of an earlier one; with --books
the .txt files of a folder instead. To reach: index within 1.6 times, a count within 5 ms
(median, 1e8 tokens). Peak memory is that of the command itself. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pydivsufsort

from stillage.corpus.counts import count_sequences
from stillage.corpus.sample_targets import TargetRules, sample_targets
from stillage.corpus.shard_index import build_index, index_path, write_shard_index
from stillage.corpus.shards import FORMAT, MANIFEST, ShardSet, open_shards
from stillage.corpus.suffix_array import suffix_array
from stillage.corpus.token_file import write_tokens
from stillage.run.folder import sha256_file, write_json, write_table
from stillage.types import Array

VOCABULARY, EXPONENT, DOCUMENT = 50_257, 1.07, 1000


def zipf_documents(tokens: int) -> Iterator[Array]:
    """Documents of DOCUMENT tokens; every 50th is a copy of one of the last hundred."""
    chance = np.random.default_rng(0)
    shares = np.arange(1, VOCABULARY + 1) ** -EXPONENT
    upto = np.cumsum(shares / shares.sum())
    recent: list[Array] = []
    for number in range(tokens // DOCUMENT):
        if number % 50 == 49:
            yield recent[int(chance.integers(len(recent)))]
            continue
        drawn = np.searchsorted(upto, chance.random(DOCUMENT)).clip(0, VOCABULARY - 1)
        recent = [*recent[-99:], drawn.astype(np.uint32)]
        yield recent[-1]


def book_documents(folder: Path, tokenizer: Path) -> Iterator[Array]:
    """The .txt files of a folder as ids."""
    from tokenizers import Tokenizer

    encoder = Tokenizer.from_file(str(tokenizer))
    for path in sorted(folder.glob("*.txt")):
        yield np.array(
            encoder.encode(path.read_text(), add_special_tokens=False).ids, dtype=np.uint32
        )


def write_shards(folder: Path, documents: Iterator[Array], shards: int, tokens: int) -> ShardSet:
    """Cut documents into shards of about equal size."""
    entries, number = [], 0
    document = next(documents, None)
    while document is not None:
        part, size = [], 0
        while document is not None and (size < tokens / shards or len(entries) == shards - 1):
            part.append(document)
            size += len(document)
            document = next(documents, None)
        name = f"shard-{len(entries):05d}"
        path = folder / f"{name}.safetensors"
        count, held = write_tokens(path, part, vocab_size=VOCABULARY, about={})
        lines = np.arange(number, number + count)
        columns = {"id": lines.astype(str), "source": np.full(count, "made"), "line": lines + 1}
        write_table(folder / f"{name}.documents.parquet", pa.table(columns))
        entries.append(
            {"name": name, "documents": count, "tokens": held, "sha256": sha256_file(path)}
        )
        number += count
    manifest = {"format": FORMAT, "vocab_size": VOCABULARY, "tokenizer": "", "shards": entries}
    write_json(folder / MANIFEST, manifest)
    return open_shards(folder)


def processor_seconds(work: Callable[[], object]) -> float:
    """Seconds of this process's processor, so that a busy machine makes no difference."""
    before = time.process_time()
    work()
    return time.process_time() - before


def seconds(work: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def against_bare(corpus: ShardSet, repeats: int) -> dict[str, object]:
    """The index of the first shard beside libdivsufsort on its bytes, by turns."""
    shard = corpus.shards[0]
    tokens_T = np.array(shard.tokens_T)
    text = tokens_T.view(np.uint8)
    suffix_array(tokens_T[:2000], np.array([0, 1000, 2000]))  # compiled
    bare, ours, whole = [], [], []
    build_index(shard)
    for _ in range(repeats):
        bare.append(processor_seconds(lambda: pydivsufsort.divsufsort(text)))
        ours.append(processor_seconds(lambda: suffix_array(tokens_T, shard.offsets_D)))
        whole.append(processor_seconds(lambda: write_shard_index(shard, *build_index(shard))))
    return {
        "tokens": len(tokens_T),
        "bare_s": round(min(bare), 3),
        "ours_s": round(min(ours), 3),
        "ours_over_bare": round(min(ours) / min(bare), 3),
        "ours_over_bare_each": [round(a / b, 2) for a, b in zip(ours, bare, strict=True)],
        "with_files_over_bare": round(min(whole) / min(bare), 3),
    }


def peak_memory(corpus: ShardSet) -> dict[str, float]:
    """The most memory that `stillage corpus index` holds, per token of the largest shard."""
    for shard in corpus.shards:
        index_path(shard).unlink(missing_ok=True)
    words = [sys.executable, "-m", "stillage", "corpus", "index", str(corpus.folder)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    largest = max(len(shard.tokens_T) for shard in corpus.shards)
    return {"peak_mib": round(peak / 2**20), "peak_bytes_per_token": round(peak / largest, 1)}


def drop_pages(folder: Path) -> None:
    """Ask the system to forget what it has read of the corpus."""
    for path in folder.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def some_queries(corpus: ShardSet, queries: int) -> list[Array]:
    """Sequences that stand in the corpus, of 1 to 100 tokens."""
    chance, found = np.random.default_rng(1), []
    for number in chance.integers(len(corpus.shards), size=queries):
        tokens_T = corpus.shards[number].tokens_T
        start, length = int(chance.integers(len(tokens_T))), int(chance.choice([1, 2, 5, 20, 100]))
        found.append(np.array(tokens_T[start : start + length]))
    return found


def count_seconds(folder: Path, queries: list[Array]) -> float:
    """Seconds of one call with these queries; the corpus is opened anew before, so that it keeps no pages."""
    corpus = open_shards(folder)
    return seconds(lambda: count_sequences(corpus, queries))


def count_times(folder: Path, queries: list[Array]) -> dict[str, float]:
    """Milliseconds of a count: warm, cold, and one of many in a call."""
    together = count_seconds(folder, queries) / len(queries)
    warm = [count_seconds(folder, [query]) for query in queries[:100]]
    cold = []
    for query in queries[:30]:
        drop_pages(folder)
        cold.append(count_seconds(folder, [query]))
    return {
        "warm_median_ms": round(1000 * statistics.median(warm), 2),
        "cold_median_ms": round(1000 * statistics.median(cold), 2),
        "of_a_thousand_ms": round(1000 * together, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--tokens", type=float, default=1e7)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--books", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--folder", type=Path, help="where the shards are put while it runs")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        tokens, documents = int(given.tokens), zipf_documents(int(given.tokens))
        if given.books is not None:
            books = list(book_documents(given.books, given.tokenizer))
            tokens, documents = sum(map(len, books)), iter(books)
        corpus = write_shards(folder, documents, given.shards, tokens)
        memory = peak_memory(corpus)
        index = against_bare(corpus, given.repeats) if given.repeats else {}
        queries = some_queries(corpus, 1000)
        del corpus
        counts = count_times(folder, queries)
        corpus = open_shards(folder)
        rules = TargetRules(counts=(2, 3, 5, 50), length=8 if given.books else 100, unique=5)
        sample_targets(corpus, rules)  # compiled
        targets_s = seconds(lambda: sample_targets(corpus, rules))
        facts = {
            "documents": corpus.documents,
            "all_tokens": corpus.tokens,
            "shards": len(corpus.shards),
        }
        speed = {"targets_tokens_per_s": round(corpus.tokens / targets_s)}
        print(json.dumps(facts | index | memory | counts | speed, indent=1))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
