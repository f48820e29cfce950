"""A process of a scan: reads a part a line, scans it, answers with a line of JSON.

python -m stillage.corpus.scan_worker SCAN CORPUS PARENT. It ends when its input does, and dies with
its parent. Ctrl-C is the parent's to hear.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from pathlib import Path

from stillage.corpus.scan_parts import Part
from stillage.corpus.scan_task import ScanJob, Scanner
from stillage.errors import UserError
from stillage.run.children import die_with_parent


def main(words: list[str]) -> int:
    """Do parts until there are no more. An error of the user's is an answer too."""
    folder, corpus, parent = words
    die_with_parent(int(parent))
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    scanner: Scanner | None = None
    for line in sys.stdin:
        try:
            if scanner is None:
                scanner = Scanner(ScanJob(folder=Path(folder), corpus=Path(corpus)))
            answer = {"facts": asdict(scanner.do(Part(**json.loads(line))))}
        except UserError as error:
            answer = {"error": error.args, "exit_code": error.exit_code}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
