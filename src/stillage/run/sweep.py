"""Sweeps: a run for every combination of values that `sweep:` in a config lists.

Equal stages are done once.

    sweep:
      seed: [1, 2, 3]
      distill.method: [sft, kd]
      cases:
        size:
          small: {student.width: 64, student.layers: 2}
          large: {student.width: 256, student.layers: 4}

A case is several settings that change together; `--sweep.cases.size small` runs that one alone.
Each grid point is an ordinary run folder under <out>/; its stages lie in <out>/store, named by
their key, and the run folder links to them. Points that share a teacher therefore train it once,
and a grid that is stopped goes on.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from stillage.errors import ConfigError, DataError, UserError
from stillage.run.config import Config
from stillage.run.flags import CASE, CASES, SWEEP, Flat, is_list, setting_kinds
from stillage.run.folder import read_json, remove, write_json
from stillage.run.parse import build, shares_over
from stillage.run.results import read_results, write_results
from stillage.run.stages import MANIFEST
from stillage.types import Result

STORE = "store"
AXIS = CASES.removeprefix(SWEEP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One combination: its name (a folder), the swept values, and the whole config."""

    name: str
    values: Mapping[str, str]
    config: Config


def swept(flat: Flat) -> tuple[Flat, dict[str, list[str]]]:
    """Part every point's settings from lists to sweep; ConfigError for an empty one."""
    every, lists = dict(flat), {}
    for path in [path for path in flat if path.startswith(SWEEP)]:
        lists[path.removeprefix(SWEEP)] = every.pop(path)
    if empty := [path for path, words in lists.items() if not words]:
        values = f"none for: {', '.join(empty)}"
        raise ConfigError("A sweep needs values.", values, "Write e.g. seed: [1, 2, 3].")
    return every, lists


def sweep_points(base: Flat, lists: Mapping[str, Sequence[str]]) -> list[Point]:
    """List every combination of the swept values; the first setting varies slowest.

    A value of several words separated by commas fills a list setting. ConfigError for a case that
    nobody defined, or as `build` raises it.
    """
    found = []
    for values in itertools.product(*lists.values()):
        chosen = dict(zip(lists, values, strict=True))
        given: Flat = {}
        for path, value in chosen.items():
            given |= case(base, path, value) if path.startswith(AXIS) else {path: value.split(",")}
        config = build({**base, **shares_over(base, given)})
        name = "_".join(
            f"{path.rpartition('.')[2]}={slug(value)}" for path, value in chosen.items()
        )
        found.append(Point(name=name, values=chosen, config=replace(config, out=config.out / name)))
    names = [point.name for point in found]
    if len(set(names)) < len(names):
        what, values = "Two points of the sweep have one name.", f"names: {names[:6]}"
        raise ConfigError(what, values, "Sweep each value once.")
    return found


def check_overruled(flat: Flat, flags: Flat) -> None:
    """ConfigError for a flag on a setting that the sweep sets, or two axes on one.

    flat: every setting, flags included. A setting of the config's own may be overruled: that is
    what a case is for.
    """
    setters: dict[str, list[str]] = {}
    for axis, words in swept(flat)[1].items():
        if not axis.startswith(AXIS):
            setters.setdefault(axis, []).append(SWEEP + axis)
            continue
        cases = {name: case(flat, axis, name) for name in words}
        for path in dict.fromkeys(path for named in cases.values() for path in named):
            by = [name for name, named in cases.items() if path in named]
            setters.setdefault(path, []).append(f"{SWEEP}{axis} ({', '.join(by)})")
    for path, by in setters.items():
        if path in flags:
            raise ConfigError(
                f"The sweep sets {path} itself, so that the flag would not count everywhere.",
                f"given: {' '.join(flags[path])}; set by {', '.join(by)}",
                "Leave out the flag, or change the sweep.",
            )
        if len(by) > 1:
            what, values = f"Two axes of the sweep set {path}.", f"they are: {', '.join(by)}"
            raise ConfigError(what, values, "Set it in one of them.")


def case(base: Flat, path: str, name: str) -> Flat:
    """Return the settings of one case of the axis `path`; ConfigError if unknown."""
    axis = path.removeprefix(AXIS)
    start = f"{CASE}{axis}."
    if start + name not in base:
        known = [key.removeprefix(start) for key in base if key.startswith(start)]
        what, values = f"The sweep has no case {name!r} of {axis!r}.", ", ".join(known) or "none"
        fix = f"Define it under sweep.cases.{axis}, or choose another."
        raise ConfigError(what, f"defined: {values}", fix)
    return json.loads(base[start + name][0])


def slug(value: str) -> str:
    """A value as part of a folder's name."""
    return re.sub(r"[^A-Za-z0-9.,+-]", "-", value)


def write_index(out: Path, grid: Sequence[Point], run_ids: Sequence[str]) -> None:
    """sweep.json: which folder and run id stands for which values."""
    rows = [
        {"name": point.name, "values": dict(point.values), "run": run_id}
        for point, run_id in zip(grid, run_ids, strict=True)
    ]
    write_json(out / "sweep.json", {"points": rows})


def check_sweep_folder(out: Path) -> None:
    """ConfigError where a sweep's folder holds a run or strange files; writes nothing."""
    names = sorted({path.name for path in out.iterdir()} - {".lock"}) if out.is_dir() else []
    if "config.yaml" in names:
        what = f"The folder {out} holds a run, not a sweep."
        raise ConfigError(what, "found: config.yaml", "Choose another --out.")
    if names and "sweep.json" not in names:
        raise ConfigError(
            f"The folder {out} has files, but no sweep of ours.",
            f"found: {', '.join(names[:5])}",
            "Choose another folder with --out.",
        )


def leave_nothing(out: Path) -> None:
    """Remove what a sweep wrote before its points, where none of them left anything."""
    if any((out / point["name"]).exists() for point in points_of(out)):
        return
    (out / "sweep.json").unlink()
    remove(out / ".lock")
    remove(out / STORE / ".locks")
    for folder in (out / STORE, out):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def points_of(out: Path) -> list[dict[str, Any]]:
    """Read the points of a sweep's folder: name, values, run. DataError for none."""
    if not (out / "sweep.json").is_file():
        fix = "Give the folder of a config with `sweep:`."
        raise DataError(f"{out} is no sweep.", "missing: sweep.json", fix)
    return read_json(out / "sweep.json")["points"]


def is_reported(out: Path, point: Mapping[str, Any]) -> bool:
    """Tell whether the point is finished, to its report."""
    return (out / point["name"] / "report" / MANIFEST).is_file()


def gather(out: Path) -> int:
    """Write finished points' results to <out>/results.parquet; return their number.

    Each swept setting is a column of its own type, by its full name (`distill.method`,
    `cases.size`); a swept seed is in the column `seed` that every results.parquet has.
    """
    every = points_of(out)
    finished = [point for point in every if is_reported(out, point)]
    typed = typed_values([point["values"] for point in every])
    results: list[Result] = []
    swept: list[Mapping[str, object]] = []
    for point in finished:
        found = read_results(out / point["name"] / "report" / "results.parquet")
        results += found
        values = {path: typed[path][value] for path, value in point["values"].items()}
        swept += [values] * len(found)
    write_results(out / "results.parquet", results, swept)
    return len(finished)


def point_state(out: Path, point: Mapping[str, Any], failed: Mapping[str, Exception]) -> str:
    """Say how a point ended.

    The text of an error that is none of ours may quote a record, and is in the log alone.
    """
    error = failed.get(point["name"])
    if error is not None:
        return error.what if isinstance(error, UserError) else type(error).__name__
    return "finished" if is_reported(out, point) else "not finished"


def typed_values(points: Sequence[Mapping[str, str]]) -> dict[str, dict[str, object]]:
    """Return setting -> word -> value: integers, numbers or switches if all are."""
    known = setting_kinds()
    found: dict[str, dict[str, object]] = {}
    for path in dict.fromkeys(path for values in points for path in values):
        words = [values[path] for values in points if path in values]
        is_text = known.get(path) is str or is_list(known.get(path))
        every = (read_all(reader, words) for reader in (int, float, switch) if not is_text)
        found[path] = next(filter(None, every), {word: word for word in words})
    return found


def read_all(reader: Callable[[str], object], words: Sequence[str]) -> dict[str, object]:
    """Each word read; empty where one cannot be."""
    try:
        return {word: reader(word) for word in words}
    except ValueError:
        return {}


def switch(word: str) -> bool:
    """A written switch. ValueError for any other word."""
    if word.lower() not in ("true", "false"):
        raise ValueError(word)
    return word.lower() == "true"
