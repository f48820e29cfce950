"""`stillage run` and the verbs that do a part of it: a config (file or preset) and flags, one plan, continued if stopped."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import ConfigError, DataError
from stillage.experiment.presets import check_needs, published, settings
from stillage.experiment.sweep import STORE, check_overruled, gather, points, swept, worth_comparing, write_index
from stillage.run.config import Config
from stillage.run.parse import Flat, build, from_flags, from_yaml

if TYPE_CHECKING:
    from stillage.experiment.plugin import Plugin
    from stillage.experiment.team import Team

PRESETS = Path(__file__).parent.parent / "presets"
LAST_STAGE = {"run": "", "quickstart": "", "data": "data", "distill": "student", "evaluate": "evaluate", "audit": "audit",
              "report": "report"}  # fmt: skip
"""The last stage that each verb does, with all it needs; empty: all."""
AUDIT_ALONE: Flat = {"stages": ["audit"], "out": ["runs/audit"]}
"""What `audit` without a config means: the models that are given, and nothing is trained."""
SWITCHES = ("--dry-run", "--accept-changes")


def main(verb: str, words: list[str]) -> int:
    """Parse, plan, run; on several processes, if they were started so. Returns the exit code."""
    if verb == "data" and words[:1] == ["plain-text"]:
        from stillage.cli import plain_text
        from stillage.experiment.team import is_helper

        if is_helper():
            return 0  # one process makes the corpus
        return plain_text.main(verb, words[1:])
    if "--help" in words or "-h" in words:
        return show_help(verb)
    from stillage.experiment.plugin import plugged
    from stillage.experiment.team import join, place

    files, words = plugin_files(words)
    if place()[1] == 1:
        with plugged(files) as plugins:
            return run_child(words, plugins) if "--only" in words else do(verb, words, plugins, None)
    from stillage.cli.together import follow, lead

    team = join()
    if not team.is_first:
        return follow(team, files)

    def work() -> int:
        with plugged(files) as plugins:
            return do(verb, words, plugins, team)

    return lead(team, work)


def plugin_files(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--plugin FILE` out of a command line: the files, and what is left. ConfigError where the file is missing."""
    files: list[Path] = []
    rest: list[str] = []
    at = iter(words)
    for word in at:
        name, equals, value = word.partition("=")
        if name != "--plugin":
            rest.append(word)
            continue
        value = value if equals else next(at, "")
        if not value or value.startswith("--"):
            raise ConfigError("--plugin takes a Python file.", f"given: {value or 'none'}", "Write --plugin mine.py.")
        files.append(Path(value))
    return files, rest


def do(verb: str, words: list[str], plugins: tuple[Plugin, ...], team: Team | None) -> int:
    """Parse, plan, run, on the process that writes."""
    switches = [word for word in words if word in SWITCHES]
    words = [word for word in words if word not in SWITCHES]
    flat, lists = swept(read_settings(verb, words))
    if lists:
        return run_grid(verb, flat, lists, switches, plugins, team)
    config = build(flat)
    run_one(config, verb, switches, plugins, team)
    return 0 if "--dry-run" in switches else finish(config, verb)


def run_one(
    config: Config,
    verb: str,
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
    store: Path | None = None,
) -> None:
    """Run, or only describe, one experiment."""
    from stillage.cli.progress import Board
    from stillage.experiment.plan import make_context, plan
    from stillage.experiment.run import describe_plan, run_experiment
    from stillage.run.stop import watch_signals

    until = last_stage(verb, config)
    with watch_signals() as stop, Board() as board:
        context = make_context(config, stop, board.show, store, plugins=plugins, team=team)
        if "--dry-run" in switches:
            print("\n".join(describe_plan(context, plan(context), until)))
        else:
            run_experiment(context, board.say, accept_changes="--accept-changes" in switches, until=until)


def last_stage(verb: str, config: Config) -> str:
    """The last stage to do; empty: all. An audit that trains nothing ends in its report, the only one there will be."""
    return "" if verb == "audit" and config.stages == ("audit",) else LAST_STAGE[verb]


def run_child(words: Sequence[str], plugins: tuple[Plugin, ...]) -> int:
    """`run RUN --only STAGE [--store FOLDER]`: one stage for a parent process that owns the run folder."""
    from stillage.experiment.parallel import Lines, die_with_parent
    from stillage.experiment.plan import make_context
    from stillage.experiment.run import do_only
    from stillage.run.stop import watch_signals

    die_with_parent(os.getppid())
    store = Path(words[words.index("--store") + 1]) if "--store" in words else None
    with watch_signals() as stop:
        config = build(read_settings("run", words[:1]))
        context = make_context(config, stop, Lines().show, store, plugins=plugins)
        do_only(context, words[words.index("--only") + 1])
    return 0


def run_grid(
    verb: str,
    flat: Flat,
    lists: dict[str, list[str]],
    switches: Sequence[str],
    plugins: tuple[Plugin, ...],
    team: Team | None,
) -> int:
    """Run every point of a sweep, sharing finished stages; the results of all go into one table."""
    base = build(flat)
    grid = points(flat, lists)
    if "--dry-run" in switches:
        for number, point in enumerate(grid, 1):
            print(f"--- point {number} of {len(grid)}: {point.name}", file=sys.stderr, flush=True)
            run_one(point.config, verb, switches, plugins, team, base.out / STORE)
        return 0
    from stillage.cli.progress import Board
    from stillage.experiment.plan import make_context
    from stillage.experiment.run import run_experiments
    from stillage.run.stop import watch_signals

    with watch_signals() as stop, Board() as board:
        contexts = {
            point.name: make_context(point.config, stop, board.show, base.out / STORE, plugins=plugins, team=team)
            for point in grid
        }
        write_index(base.out, grid, [context.run_id for context in contexts.values()])
        until = last_stage(verb, base)
        run_experiments(contexts, board.say, accept_changes="--accept-changes" in switches, until=until)
    print(f"{gather(base.out)} of {len(grid)} points finished: {base.out / 'results.parquet'}")
    if worth_comparing(base.out):
        print(f"which leaks more: stillage compare {shlex.quote(str(base.out))}")
    check_audit([point.config for point in grid])
    return 0


def finish(config: Config, verb: str) -> int:
    """Say where the result is; a broken provenance is exit 2, and with --audit.strict any check that fails."""
    summary = config.out / "report" / "summary.txt"
    if last_stage(verb, config) in ("", "report") and summary.is_file():
        print(summary.read_text(encoding="utf-8").rstrip())
    else:
        print(f"run folder: {config.out}")
    check_audit([config])
    return 0


def check_audit(configs: Sequence[Config]) -> None:
    """DataError where a record reached a stage that must not see it; ConfigError, with audit.strict, for any failed check.

    The reports are written by then, and say so first.
    """
    from stillage.run.folder import read_json

    paths = {config.out: config.out / "audit" / "validity.json" for config in configs}
    found = {out: read_json(path) for out, path in paths.items() if path.is_file()}
    leaks = {
        out: check["detail"] for out, one in found.items() for check in one["checks"]
        if check["name"] == "provenance" and not check["passed"]
    }  # fmt: skip
    if leaks:
        raise DataError(
            "Records reached a training that must not see them: what was measured is no leak of the teacher's.",
            listed([f"{detail} ({out})" for out, detail in leaks.items()]),
            "Find out how they came there (provenance.parquet of that stage), and train it again.",
        )
    strict = [config.out for config in configs if config.audit.strict and config.out in found]
    failed = [f"{found[out]['verdict']} ({out})" for out in strict if found[out]["verdict"] != "valid"]
    if failed:
        raise ConfigError(
            "The audit's checks failed, and --audit.strict is on.",
            f"verdict: {listed(failed)}",
            "Read the checks at the top of the report; mend the split, or leave out --audit.strict.",
        )


def listed(entries: Sequence[str]) -> str:
    """The first five, and how many more there are."""
    return "; ".join(entries[:5]) + (f"; and {len(entries) - 5} more" if len(entries) > 5 else "")


def read_settings(verb: str, words: Sequence[str]) -> Flat:
    """The settings of a command line: `[CONFIG | RUN folder | preset] --flags`; flags win."""
    source = "quickstart" if verb == "quickstart" else ""
    rest = list(words)
    if rest and not rest[0].startswith("--"):
        source = rest.pop(0)
    flat: Flat = {}
    script = None if not source or Path(source).exists() else published().get(source)
    if script is not None:
        flat = settings(script)
    elif source:
        path = config_file(source)
        flat = from_yaml(path.read_text(encoding="utf-8"), str(path))
        if Path(source).is_dir():
            flat["out"] = [source]  # a run folder may have been moved
    flags = from_flags(rest)
    flat |= flags
    check_overruled(flat, flags)
    if script is not None:
        check_needs(script, flat, only_records=verb == "data")
    if not source and not flat:
        raise ConfigError(
            "There is nothing to run.",
            "given: no config",
            "Give a YAML file, a preset (`stillage ls presets`) or flags.",
        )
    return audit_alone(flat) if verb == "audit" and not source else flat


def audit_alone(flat: Flat) -> Flat:
    """The settings of an audit without a config: of the models and records that are given, trains nothing.

    ConfigError without records: made-up people say nothing about a given model.
    """
    if not any(name == "data.source" or name.startswith("data.files") for name in flat):
        raise ConfigError(
            "There are no records to audit.",
            f"given: {', '.join(flat) or 'nothing'}",
            "Give --data.files.private MEMBERS.jsonl --data.files.outsiders OUTSIDERS.jsonl.",
        )
    return AUDIT_ALONE | flat


def config_file(source: str) -> Path:
    """The YAML file that a word on the command line means: a file, a run folder's config, or a preset's name."""
    path = Path(source)
    if path.is_dir() and (path / "config.yaml").is_file():
        return path / "config.yaml"
    if path.is_file():
        return path
    if path.is_dir():
        raise ConfigError(f"The folder {source} is no run.", "config.yaml is missing", instead_of(path))
    preset = PRESETS / f"{source}.yaml"
    if preset.is_file():
        return preset
    import difflib

    names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    near = difflib.get_close_matches(source, [*names, *published()], n=1)
    raise ConfigError(
        f"There is no config {source!r}.",
        f"neither a file, nor a run folder, nor a preset ({', '.join(names)}, or one of `stillage ls presets`)",
        f"Did you mean {near[0]}?" if near else "Check the path.",
    )


def instead_of(folder: Path) -> str:
    """What to give in the place of a folder that is no run: a point of a grid, or a flag for a model."""
    if (folder / "sweep.json").is_file():
        runs = sorted(str(file.parent) for file in folder.glob("*/config.yaml"))
        return f"It holds a grid: give the config that made it, or one of its points ({', '.join(runs[:3])}, ...)."
    if any((folder / name).is_file() for name in ("config.json", "adapter_config.json")):
        return f"It is a model: give --student {folder} or --teacher {folder}."
    return "Give a run folder, or a config file."


def show_help(verb: str) -> int:
    """Every setting, grouped, with its default."""
    import contextlib

    import tyro

    from stillage.cli import VERBS

    print(
        f"usage: stillage {verb} [CONFIG.yaml | RUN | PRESET] [--dry-run] [--accept-changes] [--plugin FILE.py] [settings]\n"
        f"       {VERBS[verb][1]}\n"
    )
    if verb == "data":
        print("       stillage data plain-text ACTION ...     a plain-text corpus: write, read, stats, pack, import\n")
    sys.stdout.flush()
    with contextlib.suppress(SystemExit):
        tyro.cli(Config, args=["--help"], prog=f"stillage {verb}")
    return 0
