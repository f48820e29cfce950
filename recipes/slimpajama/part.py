"""A part of tokenised shards as a folder of its own: the first ones, linked, not copied.

python recipes/slimpajama/part.py SHARDS OUT --share 0.05

Documents keep their numbers, as the first shards hold the first documents.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from stillage.corpus.shards import MANIFEST, read_shards_manifest
from stillage.run.folder import write_json


def main() -> None:
    """Link the first shards, at least one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--share", type=float, default=0.05)
    given = parser.parse_args()
    manifest = read_shards_manifest(given.shards)
    kept = manifest["shards"][: max(1, round(given.share * len(manifest["shards"])))]
    given.out.mkdir(parents=True, exist_ok=True)
    for entry in kept:
        for end in (".safetensors", ".documents.parquet"):
            link = given.out / f"{entry['name']}{end}"
            link.unlink(missing_ok=True)
            link.symlink_to((given.shards / link.name).resolve())
    write_json(given.out / MANIFEST, {**manifest, "shards": kept})
    tokens = sum(entry["tokens"] for entry in kept)
    print(f"{given.out}: {len(kept)} of {len(manifest['shards'])} shards, {tokens:,} tokens")


if __name__ == "__main__":
    main()
