"""Targets out of counted candidates: so many of each total, and the random ones.

python recipes/slimpajama/choose.py COUNTS --totals 100 1000 10000 --out targets.parquet

COUNTS: a scan of the candidates at distance 0, overlaps kept, so that it holds each occurrence.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pyarrow as pa

from stillage.corpus.scan_results import read_scan
from stillage.corpus.targets import RANDOM, target_table, write_targets
from stillage.rng import generator


def main() -> None:
    """Draw targets whose total is within the tolerance; fewer where there are fewer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=Path)
    parser.add_argument("--totals", type=int, nargs="+", required=True)
    parser.add_argument("--tolerance", type=float, default=0.01)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    scan = read_scan(given.counts)
    total_T = np.bincount(scan.hits["target"].to_numpy(), minlength=len(scan.targets))
    is_random = np.array(scan.targets["role"].to_pylist()) == RANDOM
    rows, buckets = list[int](), list[int | None]()
    for total in given.totals:
        near = np.abs(total_T - total) <= given.tolerance * total
        found = np.flatnonzero(near & ~is_random)
        some = generator(given.seed, "targets", total).permutation(found)[: given.each]
        print(f"{total:,}: {len(some)} of {len(found):,} candidates")
        rows += sorted(some.tolist())
        buckets += [total] * len(some)
    others = np.flatnonzero(is_random)[: given.each].tolist()
    print(f"random: {len(others)}")
    rows, buckets = rows + others, buckets + [None] * len(others)
    chosen = scan.targets.take(pa.array(rows, pa.int64())).to_pydict()
    changed = {"target": range(len(rows)), "bucket": buckets, "count": total_T[rows].tolist()}
    about = {"counts": scan.plan.hash, "totals": given.totals, "seed": given.seed}
    write_targets(given.out, target_table({**chosen, **changed}, about))


if __name__ == "__main__":
    main()
