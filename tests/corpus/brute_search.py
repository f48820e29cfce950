"""A search as `corpus/fuzzy.py` offers it, by trying every window: slow, and too plain to be wrong.

python tests/corpus/brute_search.py SHARDS TARGETS OUT PAUSE_S scans by it, one process, a pause before each part.
"""

from __future__ import annotations

import itertools
import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pyarrow as pa
from rapidfuzz.distance import Hamming, Levenshtein

DISTANCES = {"levenshtein": Levenshtein.distance, "hamming": Hamming.distance}
METRICS = {
    "levenshtein": ("levenshtein",),
    "hamming": ("hamming",),
    "both": ("levenshtein", "hamming"),
}
PAUSE = {"s": 0.0}


def plan_scan(tokens, offsets, targets, *, max_distance, metric, mode):  # noqa: ANN001, ANN201
    assert mode == "window"
    targets = [np.asarray(target).tolist() for target in targets]
    return SimpleNamespace(
        targets=targets,
        max_distance=max_distance,
        metrics=METRICS[metric],
        summary=lambda: "brute force",
    )


def find_near(tokens, offsets, plan, *, suppress_overlaps=True):  # noqa: ANN001, ANN201
    """Overlaps: smallest distance first, the earliest on ties; a hit that only overlaps a removed one stays."""
    time.sleep(PAUSE["s"])
    rows = []
    for number, target in enumerate(plan.targets):
        for metric in plan.metrics:
            for document, (first, end) in enumerate(itertools.pairwise(offsets)):
                ids, kept = np.asarray(tokens[first:end]).tolist(), []
                places = [
                    (DISTANCES[metric](target, ids[start : start + len(target)]), start)
                    for start in range(len(ids) - len(target) + 1)
                ]
                for distance, start in sorted(
                    place for place in places if place[0] <= plan.max_distance
                ):
                    if not suppress_overlaps or all(
                        abs(start - other) >= len(target) for _, other in kept
                    ):
                        kept.append((distance, start))
                rows += [
                    (number, document, start, start + len(target), distance, metric)
                    for distance, start in sorted(kept, key=lambda place: place[1])
                ]
    names = {
        "target": pa.int32(),
        "document": pa.int64(),
        "start": pa.int64(),
        "end": pa.int64(),
        "distance": pa.int32(),
        "metric": pa.string(),
    }
    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    return pa.table(
        {
            name: pa.array(column, kind)
            for (name, kind), column in zip(names.items(), columns, strict=True)
        }
    )


def module() -> ModuleType:
    """What stands in for `stillage.corpus.fuzzy`, so that nothing is compiled."""
    made = ModuleType("stillage.corpus.fuzzy")
    made.__dict__.update(plan_scan=plan_scan, find_near=find_near)
    return made


def main(words: list[str]) -> None:
    from stillage.corpus.scan import Hands, do_scan, plan_corpus_scan
    from stillage.corpus.scan_plan import ScanSettings
    from stillage.corpus.shards import open_shards

    sys.modules["stillage.corpus.fuzzy"] = module()
    shards, targets, out, pause_s = words
    PAUSE["s"] = float(pause_s)
    settings = ScanSettings(max_distance=2, tokens_per_part=20)
    do_scan(
        plan_corpus_scan(open_shards(Path(shards)), Path(targets), settings),
        Path(out),
        Hands(jobs=1),
    )


if __name__ == "__main__":
    main(sys.argv[1:])
