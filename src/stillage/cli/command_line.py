"""Read a command line: a config, a run folder or a preset, with flags on top."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from stillage.cli.paths import is_model
from stillage.distill.methods import METHODS
from stillage.distill.settings import setting_fields
from stillage.errors import ConfigError, did_you_mean
from stillage.experiment.sweep import check_overruled
from stillage.presets.needs import check_needs
from stillage.presets.published import published
from stillage.presets.script_settings import script_settings
from stillage.run.config import DataConfig, DistillConfig
from stillage.run.flags import Flat, from_flags
from stillage.run.folder import sha256_text
from stillage.run.parse import from_yaml, shares_over

LOG = logging.getLogger("stillage")
PRESETS = Path(__file__).parent.parent / "presets"
AUDIT_ALONE: Flat = {"stages": ["audit"]}
"""What `audit` without a config means: the models that are given, and nothing is trained."""

WANTED = {
    "audit": "Give --teacher T --student S --members A.jsonl --nonmembers B.jsonl; or a run.",
    "evaluate": "Give MODEL --data SET (`stillage evaluate --help`), or a run folder.",
    "report": "Give the folder of a run or of a sweep, e.g. stillage report runs/quickstart.",
}
"""Verb -> what to give it where nothing was given; other verbs want a config."""


def plugin_files(words: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Take `--plugin FILE` out of a command line: the files, and what is left.

    ConfigError where no file is named.
    """
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
            given = f"given: {value or 'none'}"
            raise ConfigError("--plugin takes a Python file.", given, "Write --plugin mine.py.")
        files.append(Path(value))
    return files, rest


def read_settings(verb: str, words: Sequence[str]) -> Flat:
    """Read `[CONFIG | RUN folder | preset] --flags` as settings; flags win."""
    source = "quickstart" if verb == "quickstart" else ""
    rest = list(words)
    if rest and not rest[0].startswith("--"):
        source = rest.pop(0)
    flat: Flat = {}
    script = None if not source or Path(source).exists() else published().get(source)
    if script is not None:
        flat = script_settings(script)
    elif source:
        is_file = Path(source).exists() or (PRESETS / f"{source}.yaml").is_file()
        if verb == "report" and not is_file:
            values = "neither a run folder nor a sweep's"
            raise ConfigError(f"There is no run {source!r}.", values, "Check the path.")
        path = config_file(source)
        flat = from_yaml(config_text(path), str(path))
        if Path(source).is_dir():
            flat["out"] = [source]  # a run folder may have been moved
    flags = shares_over(flat, from_flags(rest))
    flat = without_others(flat, flags) | flags
    check_overruled(flat, flags)
    if script is not None:
        check_needs(script, flat, only_records=verb == "data")
    if not source and not flat:
        usual = "Give a YAML file, a preset (`stillage ls presets`) or flags."
        fix = WANTED.get(verb, usual)
        raise ConfigError("There is nothing to run.", "given: no config", fix)
    return audit_alone(flat) if verb == "audit" and not source else flat


def without_others(flat: Flat, flags: Flat) -> Flat:
    """Leave out the settings of a config's method, where the flags name another.

    What is left out is said. A method of a plugin keeps all: what it knows is seen later.
    """
    path, of = "distill.method", "distill.params."
    before, now = flat.get(path, [DistillConfig().method]), flags.get(path)
    if not now or now == before or now[0] not in METHODS:
        return flat
    method = METHODS[now[0]]
    known = {*setting_fields(method.params), *(["preset"] if method.presets else [])}
    foreign = [name for name in flat if name.startswith(of) and name.removeprefix(of) not in known]
    if foreign:
        LOG.warning("left out, as %s has no such settings: %s", now[0], ", ".join(foreign))
    return {name: words for name, words in flat.items() if name not in foreign}


DATA = (".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
"""Ends of files that hold records; a .json may be a config."""


def config_text(path: Path) -> str:
    """Read a config file. ConfigError where it is not text: a model, say."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        values = f"{type(error).__name__}: {error}"
        fix = "Give a YAML file, a run folder or a preset (`stillage ls presets`)."
        raise ConfigError(f"{path} is not a config.", values, fix) from error


def own_folder(verb: str, words: Sequence[str], flat: Flat) -> Path:
    """Name the run folder of a command that names none.

    Of a config its name, of flags alone their verb and data: the same command again means the same
    folder, and another verb's flags another one. words, flat: as in `read_settings`.
    """
    if words and not words[0].startswith("--"):
        return Path("runs") / folder_name(str(Path(words[0]).with_suffix("")))
    files = [words[0] for path, words in flat.items() if path.startswith("data.files.") and words]
    named = files or flat.get("data.source") or [DataConfig().source]
    # with their folders: two files of one name are two data sets
    stems = dict.fromkeys(str(Path(word).with_suffix("")) for word in named)
    return Path("runs") / folder_name("-".join([verb, *stems]))


def folder_name(name: str, longest: int = 80) -> str:
    """Turn a name into a folder's; a long one is cut, and ends in its hash."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._") or "unnamed"
    return plain if len(plain) <= longest else f"{plain[: longest - 9]}-{sha256_text(name)[:8]}"


def audit_alone(flat: Flat) -> Flat:
    """Complete the settings of an audit without a config: it trains nothing.

    ConfigError without records: made-up people say nothing about a given model.
    """
    if not any(name == "data.source" or name.startswith("data.files") for name in flat):
        given = f"given: {', '.join(flat) or 'nothing'}"
        fix = "Give --members MEMBERS.jsonl --nonmembers OTHERS.jsonl."
        raise ConfigError("There are no records to audit.", given, fix)
    return AUDIT_ALONE | flat


def config_file(source: str) -> Path:
    """Find the YAML file that a word means: a file, a run's config, a preset."""
    path = Path(source)
    if path.is_dir() and (path / "config.yaml").is_file():
        return path / "config.yaml"
    if path.suffix.lower() in DATA and path.is_file():
        is_csv = path.suffix.lower() in (".csv", ".tsv")
        convert = ", converted to JSONL or Parquet (CSV is not read)" if is_csv else ""
        what, values = (
            f"{source} is a data file, not a config.",
            "given in the place of a YAML file",
        )
        raise ConfigError(what, values, f"Give it as data: --data.source {source}{convert}.")
    if path.is_file():
        return path
    if path.is_dir():
        what, fix = f"The folder {source} is no run.", other_use(path)
        raise ConfigError(what, "config.yaml is missing", fix)
    preset = PRESETS / f"{source}.yaml"
    if preset.is_file():
        return preset
    names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    presets = f"a preset ({', '.join(names)}, or one of `stillage ls presets`)"
    values = f"neither a file, nor a run folder, nor {presets}"
    fix = did_you_mean(source, [*names, *published()], "Check the path.")
    raise ConfigError(f"There is no config {source!r}.", values, fix)


def other_use(folder: Path) -> str:
    """Say what to give instead of a folder that is no run."""
    if (folder / "sweep.json").is_file():
        points = ", ".join(sorted(str(file.parent) for file in folder.glob("*/config.yaml"))[:3])
        grid = "It holds a grid: give the config that made it, or one of its points"
        return f"{grid} ({points}, ...)."
    if is_model(folder):
        return f"It is a model: give --student {folder} or --teacher {folder}."
    return "Give a run folder, or a config file."
