"""`stillage corpus tokenize` beside the bare tokenizer: the same documents, the same cores, one run.

Bare: `encode_batch_fast` on texts that lie in memory, on all cores, and nothing done with what it returns. Ours: from JSON
lines on the disk to finished, hashed shards.

    python benchmarks/tokenizing.py [BOOKS] [--tokenizer FILE] [--megabytes 64] [--jobs 2] [--repeats 3]

BOOKS: a folder of .txt; without it, made-up text. Documents have 4,000 characters, about. Target: at least 0.85. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path

from tokenizers import Tokenizer

from stillage.corpus.document_stream import Running
from stillage.corpus.encode import Encoding
from stillage.corpus.shards import open_shards
from stillage.corpus.tokenize import TokenizeRules, tokenize
from stillage.corpus.tokenizers import backend_hash, largest_id
from stillage.rng import generator
from stillage.run.environment import cpu_count

LENGTH = 4000  # characters of a document, about
BATCH = 1000  # documents per call of the bare tokenizer


def texts_of(books: str, size: int) -> list[str]:
    """Documents of so many bytes in all, cut from books (repeated where they are too short) or made up."""
    if books:
        whole = "\n\n".join(
            path.read_text(encoding="utf-8") for path in sorted(Path(books).glob("*.txt"))
        )
    else:
        rng = generator(0, "benchmark text")
        words = [
            "".join(rng.choice(list("etaoinshrdlu"), int(rng.integers(2, 9))))
            for _ in range(20_000)
        ]
        picks = rng.zipf(1.2, 1_500_000) % len(words)
        whole = " ".join(words[at] + ("." if at % 13 == 0 else "") for at in picks)
    parts = [whole[start : start + LENGTH] for start in range(0, len(whole), LENGTH)]
    found, left = [], size
    for number, part in enumerate(cycle(parts)):
        found.append(part[number % 97 :])  # a repeat is not the same text
        left -= len(found[-1].encode())
        if left <= 0:
            return found
    return found


def made_tokenizer(texts: list[str]) -> Tokenizer:
    """A byte-pair tokenizer of 8,000 tokens."""
    from stillage.data.bpe import train_bpe

    return train_bpe(texts[:200], 8000).backend_tokenizer


def seconds(run: Callable[[], object]) -> tuple[float, float]:
    """One call in seconds: on the clock, and of all cores together, processes that have ended included."""
    start, used = time.perf_counter(), cpu_s()
    run()
    return time.perf_counter() - start, cpu_s() - used


def cpu_s() -> float:
    """Seconds of all cores that this process and its ended children have used."""
    of = os.times()
    return of.user + of.system + of.children_user + of.children_system


def bare(tokenizer: Tokenizer, texts: list[str]) -> None:
    """The baseline."""
    for start in range(0, len(texts), BATCH):
        tokenizer.encode_batch_fast(texts[start : start + BATCH], add_special_tokens=False)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("books", nargs="?", default="")
    parser.add_argument("--tokenizer", default="")
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--jobs", type=int, default=cpu_count())
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "true" if asked.jobs > 1 else "false"
    os.environ["RAYON_NUM_THREADS"] = str(asked.jobs)
    texts = texts_of(asked.books, asked.megabytes * 10**6)
    tokenizer = Tokenizer.from_file(asked.tokenizer) if asked.tokenizer else made_tokenizer(texts)
    tokenizer.encode_special_tokens = True
    tokenizer.no_truncation()
    encoding = Encoding(
        rules=tokenizer.to_str(),
        column="text",
        id_column="id",
        vocab_size=largest_id(tokenizer) + 1,
    )
    rules = TokenizeRules(encoding=encoding, tokenizer=backend_hash(tokenizer))
    pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
    tokens = 0
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "a.jsonl"
        source.write_text(
            "".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8"
        )
        for number in range(asked.repeats):
            out, running = Path(folder) / f"out{number}", Running(jobs=asked.jobs)
            alone = seconds(lambda: bare(tokenizer, texts))
            pairs.append((alone, seconds(lambda: tokenize([str(source)], out, rules, running))))  # noqa: B023
            tokens = open_shards(out).tokens
    bare_s, ours_s = (statistics.median(pair[which][0] for pair in pairs) for which in (0, 1))
    found = {
        "documents": len(texts),
        "tokens": tokens,
        "jobs": asked.jobs,
        "bare_tokens_per_s": round(tokens / bare_s),
        "tokens_per_s": round(tokens / ours_s),
        "share_of_bare": round(statistics.median(alone[0] / ours[0] for alone, ours in pairs), 3),
        "shares": [round(alone[0] / ours[0], 3) for alone, ours in pairs],
        "share_of_bare_by_cpu_time": round(statistics.median(a[1] / b[1] for a, b in pairs), 3),
        "target": 0.85,
    }
    print(json.dumps(found, indent=1))


if __name__ == "__main__":  # the processes that encode import this file
    main()
