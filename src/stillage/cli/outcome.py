"""What a command says before its work and after: plan, result, refused claims."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import listed
from stillage.face.experiments import check_audit
from stillage.run.config import Config
from stillage.run.schedule import described

if TYPE_CHECKING:
    from stillage.experiment.context import Context

LAST_STAGE = {
    "run": "",
    "quickstart": "",
    "data": "data",
    "distill": "student",
    "evaluate": "evaluate",
    "audit": "audit",
    "report": "report",
}
"""The last stage that each verb does, with all it needs; empty: all."""


def last_stage(verb: str, config: Config) -> str:
    """Name the last stage to do; empty: all.

    An audit that trains nothing ends in its report, the only one there will be.
    """
    return "" if verb == "audit" and "distill" not in config.stages else LAST_STAGE[verb]


def print_plan(contexts: Mapping[str, Context], until: str, switches: Sequence[str]) -> int:
    """Print what would be done, and first why it would be refused; the exit code.

    That is the one that the real run would end with before its first stage, so that a script
    may ask before it runs.
    """
    from stillage.experiment.run import describe_plan

    found, refusal = describe_plan(contexts, until, accept_changes="--accept-changes" in switches)
    todo = [task.stage.name for task in found.tasks.values() if not task.state.is_done]
    if refusal is not None:
        print(f"stillage: the real run would be refused:\n{refusal}", file=sys.stderr, flush=True)
    if "data" in todo:
        stages = next(iter(contexts.values())).config.stages
        words = "" if "distill" in stages else f" and --stages {' '.join(stages)}"
        print(
            f"The records are not read here: `stillage data` with the same settings{words} reads "
            "and splits them alone.",
            file=sys.stderr,
            flush=True,
        )
    if len(contexts) > 1 and found.tasks:
        counts = f"{len(contexts)} points, {len(found.tasks)} stages, {len(todo)} to run"
        print(counts, file=sys.stderr, flush=True)
    for line in described(found):
        print(line)
    return 0 if refusal is None else refusal.exit_code


def finish(config: Config, verb: str) -> int:
    """Say where the result is; DataError and ConfigError as in `check_audit`."""
    summary = config.out / "report" / "summary.txt"
    if last_stage(verb, config) in ("", "report") and summary.is_file():
        print(f"{summary.read_text(encoding='utf-8')}report: {summary.with_name('report.html')}")
        warn_of_texts([config])
    else:
        if verb == "data":
            print(split_summary(config.out / "data"))
        print(f"run folder: {config.out}")
    check_audit([config])
    return 0


def warn_of_texts(configs: Sequence[Config]) -> None:
    """Say which report folders hold private text, and how to make them again without."""
    shown = [config.out for config in configs if config.report.show_text]
    written = [out for out in shown if (out / "report" / "report.html").is_file()]
    if written:
        print(
            f"warning: private texts are in {listed([str(out / 'report') for out in written])}: "
            "give it to nobody who may not see the records.\n"
            f"To make it again without them: stillage report {written[0]} --show-text false",
            file=sys.stderr,
            flush=True,
        )


def split_summary(folder: Path) -> str:
    """Count the records of each part, and what was left out or changed on the way."""
    from stillage.data.split import read_split

    split = read_split(folder)
    width = max(map(len, split.counts))
    digits = max(len(f"{count:,}") for count in split.counts.values())
    lines = [f"{part:<{width}}  {count:>{digits},} records" for part, count in split.counts.items()]
    return "\n".join([*lines, *split.remarks()])
