"""Near-duplicate documents: the rule `jaccard:T` beside datasketch's MinHash and LSH, time and recall, one run.

    python benchmarks/dedup.py [--documents 4000] [--tokens 400] [--threshold 0.8] [--repeats 3]

The corpus: documents of a Zipf vocabulary (V = 50,257, exponent 1.07), a tenth of them near-copies of another with up to
2.5 % of the tokens replaced. True pairs by sets of 13-grams, for all planted pairs. datasketch (where installed) gets the
same n-grams as bytes, as many slots, and bands that it chooses itself; its candidates are not confirmed, so false ones are
counted too. Forms alternate, the fastest of all repeats counts. Prints a Markdown table: seconds, ratio, true pairs missed,
false ones.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.corpus.dedup_rules import read_rule, rule_spans
from stillage.corpus.near_documents import SLOTS, ngram_set
from stillage.corpus.shards import FORMAT, MANIFEST, ShardSet, open_shards
from stillage.corpus.token_file import write_tokens
from stillage.run.folder import sha256_file, write_json, write_table

NGRAM, VOCABULARY = 13, 50_257
Found = dict[int, int]
"""A document that goes, and what it is a copy of."""


def planted(count: int, tokens: int) -> tuple[list[np.ndarray], Found]:
    """Documents, and for each near-copy what it was made of."""
    draw = np.random.default_rng(0)
    chances = np.arange(1, VOCABULARY + 1) ** -1.07
    text = draw.choice(VOCABULARY, (count, tokens), p=chances / chances.sum()).astype(np.uint16)
    copies = {count - 1 - at: at for at in range(count // 10)}
    for late, early in copies.items():
        text[late] = text[early]
        places = draw.choice(tokens, draw.integers(0, tokens // 40 + 1), replace=False)
        text[late, places] = draw.integers(0, VOCABULARY, len(places))
    return list(text), copies


def as_shard(folder: Path, documents: list[np.ndarray]) -> ShardSet:
    """The documents as one shard."""
    path = folder / "shard-00000.safetensors"
    count, tokens = write_tokens(path, documents, vocab_size=VOCABULARY, about={})
    columns = {"id": map(str, range(count)), "source": ["made"] * count, "line": range(count)}
    write_table(
        folder / "shard-00000.documents.parquet", pa.table({k: list(v) for k, v in columns.items()})
    )
    entry = {
        "name": "shard-00000",
        "documents": count,
        "tokens": tokens,
        "sha256": sha256_file(path),
    }
    manifest = {"format": FORMAT, "vocab_size": VOCABULARY, "tokenizer": "", "shards": [entry]}
    write_json(folder / MANIFEST, manifest)
    return open_shards(folder)


def ours(corpus: ShardSet, threshold: float) -> Found:
    """The rule, with every pair confirmed."""
    table = rule_spans(corpus, read_rule(f"jaccard:{threshold}:{NGRAM}"), "first")
    return dict(zip(table["document"].to_pylist(), table["copy_document"].to_pylist(), strict=True))


def datasketch(documents: list[np.ndarray], threshold: float) -> Found:
    """The usual loop: a signature each, asked of the index, inserted where it is new."""
    from datasketch import MinHash, MinHashLSH  # pyright: ignore[reportMissingImports]

    index, found = MinHashLSH(threshold=threshold, num_perm=SLOTS), {}
    for number, ids in enumerate(documents):
        signature = MinHash(num_perm=SLOTS)
        signature.update_batch(list(ngram_set(ids, NGRAM)))
        if near := index.query(signature):
            found[number] = min(int(str(key)) for key in near)
        else:
            index.insert(number, signature)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--documents", type=int, default=4000)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    documents, copies = planted(asked.documents, asked.tokens)
    sets = {n: ngram_set(documents[n], NGRAM) for pair in copies.items() for n in pair}
    true = {
        late: early
        for late, early in copies.items()
        if len(sets[late] & sets[early]) / len(sets[late] | sets[early]) >= asked.threshold
    }
    with tempfile.TemporaryDirectory() as place:
        corpus = as_shard(Path(place), documents)
        forms: dict[str, Callable[[], Found]] = {"ours": lambda: ours(corpus, asked.threshold)}
        if importlib.util.find_spec("datasketch"):
            forms["datasketch"] = lambda: datasketch(documents, asked.threshold)
        seconds, results = dict.fromkeys(forms, float("inf")), {name: {} for name in forms}
        for _ in range(asked.repeats):
            for name, form in forms.items():
                started = time.perf_counter()
                results[name] = form()
                seconds[name] = min(seconds[name], time.perf_counter() - started)
    tokens = asked.documents * asked.tokens
    print(
        f"{platform.processor() or platform.machine()}; {asked.documents} documents, {tokens:,} tokens;"
    )
    print(f"{len(true)} of {len(copies)} planted pairs at {asked.threshold} or above\n")
    print(
        "| form | s | tokens/s | times ours | true pairs missed | false |\n|---|---|---|---|---|---|"
    )
    for name, found in results.items():
        missed, false = len(true.keys() - found.keys()), len(found.keys() - true.keys())
        cells = [
            f"{seconds[name]:.2f}",
            f"{tokens / seconds[name]:,.0f}",
            f"{seconds[name] / seconds['ours']:.1f}",
        ]
        print(f"| {name} | {' | '.join(cells)} | {missed} | {false} |")


if __name__ == "__main__":
    main()
