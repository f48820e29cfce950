"""Find and read a config: a YAML file, a run folder, a preset or a script."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from stillage.distill.methods import METHODS
from stillage.distill.settings import setting_fields
from stillage.errors import ConfigError, did_you_mean
from stillage.models.source import is_model
from stillage.presets.needs import check_needs
from stillage.presets.published import Script, published
from stillage.presets.script_settings import script_settings
from stillage.run.config import DataConfig, DistillConfig
from stillage.run.flags import Flat
from stillage.run.folder import sha256_text
from stillage.run.parse import from_yaml, shares_over
from stillage.run.sweep import check_overruled

LOG = logging.getLogger("stillage")
PRESETS = Path(__file__).parent.parent / "presets"
DATA = (".jsonl", ".ndjson", ".parquet", ".csv", ".tsv")
"""Ends of files that hold records; a .json may be a config."""


def config_settings(source: str | Flat, settings: Flat, verb: str = "run") -> Flat:
    """Put settings on top of those of a config.

    source: a file, a run folder, a preset, a published script, or the config's settings.
    ConfigError where there is none of that name, where a sweep sets one of the settings itself, or
    where a published script lacks something.
    """
    flat, script = read_source(source, verb) if isinstance(source, str) else (source, None)
    settings = shares_over(flat, settings)
    flat = without_others(flat, settings) | settings
    check_overruled(flat, settings)
    if script is not None:
        check_needs(script, flat, only_records=verb == "data")
    return flat


def read_source(source: str | Path, verb: str = "run") -> tuple[Flat, Script | None]:
    """Read the settings of a config; the published script too, where it is one."""
    path, name = Path(source), str(source)
    script = None if path.exists() else published().get(name)
    if script is not None:
        return script_settings(script), script
    if verb == "report" and not path.exists() and not (PRESETS / f"{name}.yaml").is_file():
        values = "neither a run folder nor a sweep's"
        raise ConfigError(f"There is no run {name!r}.", values, "Check the path.")
    file = config_file(name)
    flat = from_yaml(config_text(file), str(file))
    if path.is_dir():
        flat["out"] = [name]  # a run folder may have been moved
    return flat, None


def without_others(flat: Flat, flags: Flat) -> Flat:
    """Leave out, and say, the settings of a config's method where flags name another.

    A method of a plugin keeps all: what it knows is seen later.
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


def config_text(path: Path) -> str:
    """Read a config file. ConfigError where it is not text: a model, say."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not a config.",
            f"{type(error).__name__}: {error}",
            "Give a YAML file, a run folder or a preset (`stillage ls presets`).",
        ) from error


def config_file(source: str) -> Path:
    """Find the YAML file that a word means: a file, a run's config, a preset."""
    path = Path(source)
    if path.is_dir() and (path / "config.yaml").is_file():
        return path / "config.yaml"
    if path.suffix.lower() in DATA and path.is_file():
        is_csv = "sv" in path.suffix.lower()
        converted = ", converted to JSONL or Parquet (CSV is not read)" if is_csv else ""
        raise ConfigError(
            f"{source} is a data file, not a config.",
            "given in the place of a YAML file",
            f"Give it as data: --data.source {source}{converted}.",
        )
    if path.is_file():
        return path
    if path.is_dir():
        what = f"The folder {source} is no run."
        raise ConfigError(what, "config.yaml is missing", instead_of(path))
    preset = PRESETS / f"{source}.yaml"
    if preset.is_file():
        return preset
    names = sorted(file.stem for file in PRESETS.glob("*.yaml"))
    raise ConfigError(
        f"There is no config {source!r}.",
        f"neither a file, nor a run folder, nor a preset ({', '.join(names)}, or one of "
        "`stillage ls presets`)",
        did_you_mean(source, [*names, *published()], "Check the path."),
    )


def instead_of(folder: Path) -> str:
    """Say what to give instead of a folder that is no run."""
    if (folder / "sweep.json").is_file():
        runs = sorted(str(file.parent) for file in folder.glob("*/config.yaml"))
        points = ", ".join(runs[:3])
        return (
            f"It holds a grid: give the config that made it, or one of its points ({points}, ...)."
        )
    if is_model(folder):
        return f"It is a model: give --student {folder} or --teacher {folder}."
    return "Give a run folder, or a config file."


def own_folder(verb: str, words: Sequence[str], flat: Flat) -> Path:
    """Name the run folder of a command that names none.

    Of a config its name, of flags alone their verb and data: the same command again means the same
    folder, and another verb's flags another one. words, flat: as in `read_settings`.
    """
    if words and not words[0].startswith("--"):
        return Path("runs") / folder_name(str(Path(words[0]).with_suffix("")))
    if flat.get("stages") == ["mosaic"] and flat.get("mosaic.books"):
        return Path("runs") / folder_name(f"mosaic-{Path(flat['mosaic.books'][0]).with_suffix('')}")
    files = [words[0] for path, words in flat.items() if path.startswith("data.files.") and words]
    named = files or flat.get("data.source") or [DataConfig().source]
    # whole paths, as two files of one name are two data sets
    stems = dict.fromkeys(str(Path(word).with_suffix("")) for word in named)
    return Path("runs") / folder_name("-".join([verb, *stems]))


def folder_name(name: str, longest: int = 80) -> str:
    """Turn a name into a folder's; a long one is cut, and ends in its hash."""
    plain = re.sub(r"[^A-Za-z0-9._+-]+", "-", name).strip("-._") or "unnamed"
    return plain if len(plain) <= longest else f"{plain[: longest - 9]}-{sha256_text(name)[:8]}"
