"""Kill a run at random moments, again and again, and check that it always ends in the same results.

    python recipes/quickstart/kill.py --kills 20 -- quickstart --data.people 80
    python recipes/quickstart/kill.py --kills 3 -- quickstart

Runs the command once undisturbed; then, in a second folder, kills it (SIGKILL) after random waits and starts it again
until it ends by itself. The two results.parquet must be equal byte for byte. Exit 0 if so.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path


def run(words: list[str], out: Path, kill_after_s: float | None = None) -> bool:
    """Run the command; True if it ended by itself (then it must have ended well), False if it was killed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "stillage", *words, "--out", str(out)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _, printed = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode != 0:
        sys.exit(f"the command failed with {process.returncode}:\n{printed.decode()}")
    return True


def main() -> None:
    """Compare killed runs with an undisturbed one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("runs/kill"))
    parser.add_argument("words", nargs="+", help="the stillage command, after --")
    given = parser.parse_args()
    shutil.rmtree(given.folder, ignore_errors=True)
    draws = random.Random(given.seed)
    started = time.monotonic()
    run(given.words, given.folder / "undisturbed")
    whole_s = time.monotonic() - started
    print(f"undisturbed: {whole_s:.1f} s", flush=True)
    killed, rounds = 0, 0
    while killed < given.kills:
        rounds += 1
        out = given.folder / f"killed-{rounds}"
        # waits spread over the whole run: whatever stage is in hand gets its share of kills
        while killed < given.kills and not run(
            given.words, out, draws.uniform(0.5, max(4.0, 0.6 * whole_s))
        ):
            killed += 1
            print(f"kill {killed}", flush=True)
        run(given.words, out)
        results = [
            folder / "report" / "results.parquet" for folder in (given.folder / "undisturbed", out)
        ]
        if results[0].read_bytes() != results[1].read_bytes():
            sys.exit(f"results differ: {results[0]} {results[1]}")
        print(f"round {rounds}: the same results, byte for byte", flush=True)
    print(f"{killed} kills in {rounds} runs: always the same results")


if __name__ == "__main__":
    main()
