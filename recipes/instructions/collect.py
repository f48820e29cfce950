"""Bring the 25 task files together from a clone of their repository, and check that they are the ones of the recipe.

    git clone https://github.com/yizhongw/self-instruct
    python recipes/instructions/collect.py self-instruct tasks

Copies each file of SOURCES.json under its name here, and stops at the first whose sha256 differs.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path


def main(clone: Path, folder: Path) -> None:
    """Copy and check."""
    sources = json.loads((Path(__file__).parent / "SOURCES.json").read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    for name, about in sources["files"].items():
        path = clone / sources["folder"] / name.removeprefix("t0_")
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != about["sha256"]:
            sys.exit(
                f"{path} is another file than the recipe's.\nexpected sha256 {about['sha256']}\nTake another commit."
            )
        (folder / name).write_bytes(content)
    print(f"{len(sources['files'])} files in {folder}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
