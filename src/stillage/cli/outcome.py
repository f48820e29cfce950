"""What a command says before its work and after: plan, result, refused claims."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError
from stillage.experiment.folders import listed
from stillage.run.config import Config

if TYPE_CHECKING:
    from stillage.experiment.plan import Context

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


def say_first(contexts: Iterable[Context], verb: str, say: Callable[[str], None]) -> None:
    """Say once how prompts are laid out, and which controls and records are missing.

    Nothing where no model reads any.
    """
    from stillage.experiment.few_records import few_records_in
    from stillage.experiment.layout import layout_notes
    from stillage.experiment.specs import missing_controls

    if verb in ("data", "report"):
        return
    contexts = list(contexts)
    told = [(context.config, context.specs) for context in contexts]
    notes = [
        note for tell in (layout_notes, missing_controls) for one in told for note in tell(*one)
    ]
    notes += [f"warning: {few}" for context in contexts if (few := few_records_in(context))]
    for note in dict.fromkeys(notes):
        say(note)


def print_plan(contexts: Mapping[str, Context], until: str, switches: Sequence[str]) -> int:
    """Print what would be done, and first why it would be refused; the exit code.

    That is the one that the real run would end with before its first stage, so that a script
    may ask before it runs.
    """
    from stillage.experiment.run import describe_plan

    lines, refusal = describe_plan(contexts, until, accept_changes="--accept-changes" in switches)
    if refusal is not None:
        print(f"stillage: the real run would be refused:\n{refusal}", file=sys.stderr, flush=True)
    if len(contexts) > 1 and lines:
        todo = sum(line.startswith("run") for line in lines)
        counts = f"{len(contexts)} points, {len(lines)} stages, {todo} to run"
        print(counts, file=sys.stderr, flush=True)
    if lines:
        print("\n".join(lines))
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


def check_audit(configs: Sequence[Config]) -> None:
    """Raise DataError for a leak into a training.

    With audit.strict also ConfigError for any check. The reports are written by then.
    """
    from stillage.run.folder import read_json

    paths = {config.out: config.out / "audit" / "validity.json" for config in configs}
    validity = {out: read_json(path) for out, path in paths.items() if path.is_file()}
    leaks = {
        out: check["detail"]
        for out, one in validity.items()
        for check in one["checks"]
        if check["name"] == "provenance" and not check["passed"]
    }
    if leaks:
        raise DataError(
            "Records reached a training that must not see them: "
            "what was measured is no leak of the teacher's.",
            listed([f"{detail} ({out})" for out, detail in leaks.items()]),
            "Find out how they came there (provenance.parquet of that stage), and train it again.",
        )
    strict = [config.out for config in configs if config.audit.strict and config.out in validity]
    verdicts = {out: validity[out]["verdict"] for out in strict}
    failed = [f"{verdict} ({out})" for out, verdict in verdicts.items() if verdict != "valid"]
    if failed:
        what = "The audit's checks do not say valid, and --audit.strict is on."
        fix = "Read the checks at the top of the report; mend the split or give more records, "
        fix += "or leave out --audit.strict."
        raise ConfigError(what, f"verdict: {listed(failed)}", fix)
