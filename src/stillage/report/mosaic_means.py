"""Means, with intervals, of the points of mosaic runs that differ in the seed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stillage.errors import DataError, listed
from stillage.functional.binomial import Interval
from stillage.functional.means import mean_interval
from stillage.report.mosaic_axis import axis_number
from stillage.report.mosaic_view import MosaicView, read_mosaic_view

if TYPE_CHECKING:
    import pyarrow as pa

KEYS = {
    "experiment": "string",
    "series": "string",
    "x": "double",
    "label": "string",
    "attack": "string",
}
"""Columns that name a point, of whatever seed."""
METRICS = ("auc", "copies", "rho", "rho_isotonic", "bleu", "edit_similarity")
ALIKE = ("model", "tokenizer", "canaries", "copies", "N", "level")
"""What the runs' metadata must agree on; `seed` and the machine may differ."""
Key = tuple[Any, ...]
Published = Mapping[tuple[str, float], float]
"""(series, x) -> published value."""


def mean_table(runs: Sequence[Path], level: float = 0.95) -> pa.Table:
    """Average each point over runs, with t intervals of the mean over seeds.

    Columns KEYS; seeds: runs that have the point; missing: of these without a rho; flagged: of
    these with a flag; then value, low, high of each of METRICS over the runs that have it, NaN
    where none has it, limits NaN for a single one. Rows in the order of the first run. DataError:
    no run, one without points, a seed twice, runs of different models, canaries or copies.
    """
    import pyarrow as pa

    views = [read_mosaic_view(run, title=run.name) for run in runs]
    check_alike(runs, views)
    found = dict[Key, list[Mapping[str, Any]]]()
    for view in views:
        for row in view.points:
            found.setdefault(tuple(row[name] for name in KEYS), []).append(row)
    rows = [
        {**dict(zip(KEYS, key, strict=True)), **averaged(of, level)} for key, of in found.items()
    ]
    kinds = {"string": pa.string(), "double": pa.float64()}
    columns = [(name, kinds[kind]) for name, kind in KEYS.items()]
    columns += [(name, pa.int64()) for name in ("seeds", "missing", "flagged")]
    columns += [(f"{name}{end}", pa.float64()) for name in METRICS for end in ("", "_low", "_high")]
    return pa.Table.from_pylist(rows, schema=pa.schema(columns))


def averaged(rows: Sequence[Mapping[str, Any]], level: float) -> dict[str, float | int]:
    """The mean of each metric over the seeds of a point."""
    made: dict[str, float | int] = {
        "seeds": len(rows),
        "missing": sum(math.isnan(row["rho"]) for row in rows),
        "flagged": sum(bool(row["flags"]) for row in rows),
    }
    for name in METRICS:
        known = np.array([row[name] for row in rows if not math.isnan(row[name])])
        mean = mean_interval(known, level) if known.size else Interval(value=math.nan)
        made |= {name: mean.value, f"{name}_low": mean.low, f"{name}_high": mean.high}
    return made


def check_alike(runs: Sequence[Path], views: Sequence[MosaicView]) -> None:
    """Raise DataError where a mean over the runs has no meaning."""
    if not views:
        raise DataError(
            "There is no run to average.", "runs: none", "Name the folders of finished mosaic runs."
        )
    for name in ALIKE:
        said = [json.dumps(canary_counts(view.about.get(name)), sort_keys=True) for view in views]
        if len(set(said)) > 1:
            told = [f"{run}: {value}" for run, value in zip(runs, said, strict=True)]
            raise DataError(
                f"The runs are not of one experiment: {name} differs.",
                listed(told),
                "Average runs that differ in the seed alone.",
            )
    seeds = [view.about["seed"] for view in views if view.about.get("seed") is not None]
    if len(set(seeds)) < len(seeds):
        raise DataError(
            "Two runs have the same seed, so that their mean would count one twice.",
            f"seeds: {', '.join(map(str, seeds))}",
            "Name each run once, each with another seed.",
        )


def canary_counts(value: object) -> object:
    """Of canaries how many and how long: the rest differs from seed to seed."""
    if not isinstance(value, Mapping):
        return value
    return {name: value.get(name) for name in ("members", "nonmembers", "length")}


def markdown(
    table: pa.Table, *, experiment: str, attack: str, published: Published | None = None
) -> str:
    """Write an experiment's means under an attack as Markdown, a row a point.

    Columns: series (where there are several), place, AUC, rho, rho isotonic, seeds; BLEU and edit
    similarity where they were measured; what was published for (series, x), where something was.
    Empty where the table has no such point.
    """
    published = published or {}
    rows = [
        row
        for row in table.to_pylist()
        if (row["experiment"], row["attack"]) == (experiment, attack)
    ]
    names = {"auc": "AUC", "rho": "rho, as published", "rho_isotonic": "rho, isotonic"}
    names |= {"bleu": "BLEU", "edit_similarity": "edit similarity"}
    shown = [name for name in names if any(not math.isnan(row[name]) for row in rows)]
    has_series = any(row["series"] for row in rows)
    head = ["series"] * has_series + ["at", *(names[name] for name in shown), "seeds"]
    head += ["published"] * bool(published)
    lines = [head, ["---"] * len(head)]
    for row in rows:
        seeds = f"{row['seeds']}"
        seeds += f", {row['missing']} without rho" * bool(row["missing"] and "rho" in shown)
        seeds += f", {row['flagged']} flagged" * bool(row["flagged"])
        place = [row["series"] or "-"] * has_series + [row["label"] or axis_number(row["x"])]
        lines.append([*place, *(seeds_interval(row, name) for name in shown), seeds])
        if published:
            value = published.get((row["series"], row["x"]))
            lines[-1].append("-" if value is None else f"{value:.2f}")
    written = (" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines)
    return "".join(f"| {line} |\n" for line in written) if rows else ""


def seeds_interval(row: Mapping[str, Any], metric: str, digits: int = 2) -> str:
    """A mean with its interval, where there are several seeds: "0.64 [0.55, 0.72]"."""
    value, low, high = (row[f"{metric}{end}"] for end in ("", "_low", "_high"))
    if math.isnan(value):
        return "-"
    said = f"{value:.{digits}f}"
    return said if math.isnan(low) else f"{said} [{low:.{digits}f}, {high:.{digits}f}]"
