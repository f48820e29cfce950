"""What a command says before its work and after: plan, result, refused claims."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import listed
from stillage.face.experiments import check_audit, check_points
from stillage.run.config import Config
from stillage.run.schedule import described

if TYPE_CHECKING:
    from stillage.experiment.context import Context
    from stillage.face.experiments import Experiment

LAST_STAGE = {"distill": "student", "run": "", "quickstart": ""}
"""The last stage that a verb does, with all it needs, where it is called otherwise; empty: all."""


def last_stage(verb: str, config: Config) -> str:
    """Name the last stage to do; empty: all.

    An audit that trains nothing ends in its report, the only one there will be.
    """
    return "" if verb == "audit" and "distill" not in config.stages else LAST_STAGE.get(verb, verb)


def print_plan(
    contexts: Mapping[str, Context], until: str, switches: Sequence[str], verb: str
) -> int:
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
        preset = " quickstart" if verb == "quickstart" else ""
        words = "" if "distill" in stages else f" and --stages {' '.join(stages)}"
        how = f": `stillage data{preset}` with the same settings{words} reads and splits them alone"
        print(
            f"The records are not read here{'' if verb == 'data' else how}.",
            file=sys.stderr,
            flush=True,
        )
    if len(contexts) > 1 and found.tasks:
        counts = f"{len(contexts)} points, {len(found.tasks)} stages, {len(todo)} to run"
        print(counts, file=sys.stderr, flush=True)
    for line in described(found):
        print(line)
    return 0 if refusal is None else refusal.exit_code


def finish(
    asked: Experiment, verb: str, failed: Mapping[str, Exception], lines: Sequence[str]
) -> int:
    """Say where the result is; errors as in `check_audit` and `check_points`.

    failed, lines: as `do_experiment` returns them.
    """
    out, count = asked.config.out, len(asked.grid)
    summary = out / "report" / "summary.txt"
    is_reported = last_stage(verb, asked.config) in ("", "report") and summary.is_file()
    if lines:
        print("\n".join([*lines, *where_the_page_is(out)]))
    elif count > len(failed):
        print(f"{count - len(failed)} of {count} points did their {verb}: {out}")
    elif not count and is_reported:
        print(f"{summary.read_text(encoding='utf-8')}report: {summary.with_name('report.html')}")
    elif not count:
        if verb == "data":
            print(split_summary(out / "data"))
        print(f"run folder: {out}")
    if count or is_reported:
        warn_of_texts(asked.configs)
    check_audit(asked.configs)
    check_points(failed, count)
    return 0


def where_the_page_is(out: Path) -> list[str]:
    """Name the table and the page of a sweep."""
    return [f"results: {out / 'results.parquet'}", f"report: {out / 'report' / 'report.html'}"]


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
