"""Token shards from lists of ids, as `corpus/shards.py` reads them, without a tokenizer.

from make_shards import make_shards
corpus = make_shards(tmp_path / "shards", [[1, 2, 3], [], [4]], vocab_size=9, shard_documents=2)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.corpus.shards import FORMAT, MANIFEST, ShardSet, open_shards
from stillage.corpus.token_file import write_tokens
from stillage.run.folder import sha256_file, write_json, write_table


def make_shards(
    folder: Path,
    documents: Sequence[Sequence[int] | np.ndarray],
    vocab_size: int,
    shard_documents: int,
    tokenizer: str = "",
) -> ShardSet:
    """Write shards of so many documents each, and open them; no documents: one empty shard.

    Document d of the corpus has the id `d<d>`, the source `made` and the line d + 1.
    """
    shards = []
    for start in range(0, max(1, len(documents)), shard_documents):
        name = f"shard-{len(shards):05d}"
        part = [
            np.asarray(ids, dtype=np.int64) for ids in documents[start : start + shard_documents]
        ]
        path = folder / f"{name}.safetensors"
        count, tokens = write_tokens(
            path, part, vocab_size=vocab_size, about={"vocab_size": vocab_size}
        )
        numbers = range(start, start + count)
        columns = {
            "id": pa.array([f"d{number}" for number in numbers], pa.string()),
            "source": pa.array(["made"] * count, pa.string()),
            "line": pa.array([number + 1 for number in numbers], pa.int64()),
        }
        write_table(folder / f"{name}.documents.parquet", pa.table(columns))
        shards.append(
            {"name": name, "documents": count, "tokens": tokens, "sha256": sha256_file(path)}
        )
    manifest = {
        "format": FORMAT,
        "vocab_size": vocab_size,
        "tokenizer": tokenizer,
        "shards": shards,
    }
    write_json(folder / MANIFEST, manifest)
    return open_shards(folder)
