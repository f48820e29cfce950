"""A corpus of SlimPajama's layout, small: 20 parts of made-up words, with planted copies.

python recipes/slimpajama/tiny.py OUT

OUT/train/chunk1..10/example_train_0.jsonl.zst and _1: fields text and meta, 500 documents of 150
words each; OUT/tokenizer.json: a word a token; OUT/planted.json: near-duplicates of each sequence.
20 sequences of 100 words each stand 40, 80 and 160 times in all, as often in each part; near-duplicates have
1 to 60 other words.
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np

from stillage.rng import generator
from stillage.run.folder import atomic, write_json

PARTS, DOCUMENTS, WORDS, LENGTH, VOCABULARY = 20, 500, 150, 100, 2000
TOTALS, EACH = (40, 80, 160), 20


def main() -> None:
    """Write the corpus, the tokenizer and what was planted."""
    out, rng = Path(sys.argv[1]), generator(1, "tiny SlimPajama")
    parts_PDW = rng.integers(VOCABULARY, size=(PARTS, DOCUMENTS, WORDS))
    free = [rng.permutation(DOCUMENTS).tolist() for _ in range(PARTS)]  # of each part

    def plant(part: int, words: np.ndarray) -> None:
        start = int(rng.integers(WORDS - LENGTH + 1))
        parts_PDW[part, free[part].pop(), start : start + LENGTH] = words

    planted = []
    for total in TOTALS:
        for _ in range(EACH):
            words = rng.integers(VOCABULARY, size=LENGTH)
            for part in range(PARTS):
                for _ in range(total // PARTS):
                    plant(part, words)
            changed = rng.integers(1, 61, size=rng.poisson(total * rng.lognormal(-0.125, 0.5) / 2))
            for number in changed.tolist():
                near, places = words.copy(), rng.choice(LENGTH, number, replace=False)
                near[places] = (near[places] + rng.integers(1, VOCABULARY, number)) % VOCABULARY
                roomy = max(range(PARTS), key=lambda part: (len(free[part]), rng.random()))
                plant(roomy, near)
            planted.append({"total": total, "words": words.tolist(), "changed": changed.tolist()})
    write_json(out / "planted.json", planted)
    write_json(out / "tokenizer.json", tokenizer())
    with atomic(out / "train") as folder:
        for part, documents in enumerate(parts_PDW.tolist()):
            path = folder / f"chunk{part // 2 + 1}" / f"example_train_{part % 2}.jsonl.zst"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(compressed(documents))
    print(f"{out / 'train'}: {PARTS} files, {PARTS * DOCUMENTS:,} documents")


def compressed(documents: list[list[int]]) -> bytes:
    """The documents as zstandard-compressed JSON lines."""
    import zstandard

    lines = io.StringIO()
    for words in documents:
        text = " ".join(f"w{word}" for word in words)
        row = {"text": text, "meta": {"redpajama_set_name": "RedPajamaMade"}}
        lines.write(json.dumps(row) + "\n")
    return zstandard.ZstdCompressor().compress(lines.getvalue().encode())


def tokenizer() -> dict:
    """A tokenizer.json whose tokens are the words."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    vocabulary = {f"w{word}": word for word in range(VOCABULARY)}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return json.loads(made.to_str())


if __name__ == "__main__":
    main()
