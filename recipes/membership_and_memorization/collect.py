"""One file of records with their task and category, from the 25 task files of recipes/instructions.

    git clone https://github.com/yizhongw/self-instruct
    python recipes/instructions/collect.py self-instruct tasks
    python recipes/membership_and_memorization/collect.py tasks tasks.jsonl

Each row is {"prompt", "completion", "task", "category"}; categories.json is the map. A file whose sha256 is not the
recipe's, or one that the map does not name, stops it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent


def main(folder: Path, out: Path) -> None:
    """Read, check, and write the rows in the order of the file names."""
    sources = json.loads(
        (HERE.parent / "instructions" / "SOURCES.json").read_text(encoding="utf-8")
    )["files"]
    named = json.loads((HERE / "categories.json").read_text(encoding="utf-8"))["categories"]
    category_of = {task: category for category, tasks in named.items() for task in tasks}
    rows, counts = [], Counter()
    for name in sorted(sources):
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != sources[name]["sha256"]:
            sys.exit(
                f"{folder / name} is another file than the recipe's.\nexpected sha256 {sources[name]['sha256']}"
            )
        task = name.removeprefix("t0_").removesuffix(".jsonl")
        for line in filter(None, content.decode("utf-8").split("\n")):
            row = json.loads(line)
            rows.append({**row, "task": task, "category": category_of[task]})
            counts[category_of[task]] += 1
    out.write_text(
        "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8"
    )
    print(f"{len(rows)} records in {out}: {dict(sorted(counts.items()))}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
