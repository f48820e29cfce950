"""What the report of a mosaic run shows: points, experiments, canaries, books.

Read from the run's folder. Only `mosaic/points.parquet` must be there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stillage.errors import DataError
from stillage.mosaic.table_columns import POINTS
from stillage.run.folder import read_table
from stillage.types import Result

Row = Mapping[str, Any]
USUAL_CURVE = "exact_01"  # the training where it begins
POINTS_FILE = Path("mosaic") / "points.parquet"
DISTANCES = {
    "levenshtein": "Levenshtein",
    "damerau": "Damerau-Levenshtein",
    "indel": "tokens left out and put in",
    "token_overlap": "tokens not shared",
    "token_jaccard": "Jaccard, token ids",
    "gram_jaccard": "Jaccard, 13-grams",
}
"""Column of points -> the name of that distance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """An experiment as the page shows it; see mosaic.condition.Experiment."""

    name: str
    title: str
    axis: str = ""
    shows: str = "rho"
    note: str = ""
    published: tuple[tuple[str, float, float], ...] = ()
    copies: int = 0  # N of its points; 0: the run's


@dataclass(frozen=True, slots=True, kw_only=True)
class Canaries:
    """The canaries that were kept, without their texts."""

    perplexity: Mapping[str, Sequence[float]] = field(default_factory=dict)  # by role
    buckets: Mapping[int, int] = field(default_factory=dict)  # bucket -> canaries
    lengths: tuple[int, int] = (0, 0)  # tokens of the shortest and the longest
    made: Mapping[str, Any] = field(default_factory=dict)  # settings, counts of rejected texts


@dataclass(frozen=True, slots=True, kw_only=True)
class MosaicView:
    """All that the page shows."""

    title: str
    run_id: str
    about: Mapping[str, Any]  # metadata "run" of the points
    experiments: Sequence[Shown]
    points: Sequence[Row]  # rows of POINTS, numbers that are missing as NaN
    monitors: Mapping[str, Sequence[Row]] = field(default_factory=dict)  # by condition
    canaries: Canaries = field(default_factory=Canaries)
    hosts: Sequence[str] = ()  # titles
    documents: int = 0
    survived: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By training: injected pieces that were found again, and all of them."""
    trainings: Sequence[str] = ()
    curves: Mapping[str, str] = field(default_factory=dict)
    """Training -> that on one exact copy where its curve begins."""
    others: Mapping[str, Canaries] = field(default_factory=dict)
    """Canaries of arms that have others, by their folder."""

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return float(self.about.get("level") or 0.95)

    @property
    def length(self) -> int:
        """Tokens of a canary; 0: not said."""
        said = self.about.get("canaries")
        return int((said.get("length") if isinstance(said, Mapping) else 0) or 0)

    @property
    def copies(self) -> int:
        """Copies at full dose; where it is not said, the longest exact curve's."""
        said = self.about.get("copies") or self.about.get("N")
        known = [row["x"] for row in self.curve(self.attack) if math.isfinite(row["x"])]
        return int(said or max(known, default=0))

    @property
    def attacks(self) -> list[str]:
        """The attacks, that of the headline first."""
        found = dict.fromkeys(row["attack"] for row in self.points if row["attack"])
        told = [name for name in self.about.get("attacks") or () if name in found]
        return list(dict.fromkeys([*told, *found]))

    @property
    def attack(self) -> str:
        """The attack of the headline."""
        return next(iter(self.attacks), "")

    def is_usual(self, row: Row) -> bool:
        """Whether a point is read off the usual curve, that of `curve`; so too if unknown."""
        return self.curves.get(row["condition"], USUAL_CURVE) == USUAL_CURVE

    def of(self, experiment: str, attack: str) -> list[Row]:
        """Pick an experiment's points under an attack, those of a series together by x."""
        rows = [
            row
            for row in self.points
            if row["experiment"] == experiment and row["attack"] in (attack, "")
        ]
        series = list(dict.fromkeys(row["series"] for row in rows))
        return sorted(rows, key=lambda row: (series.index(row["series"]), place_order(row["x"])))

    def curve(self, attack: str) -> list[Row]:
        """Pick the points of exact copies, by their number; of several models the first's."""
        named = [one.name for one in self.experiments if one.shows == "auc"][:1]
        rows = self.of(named[0], attack) if named else []
        return [row for row in rows if row["series"] == rows[0]["series"]]

    def result(self, row: Row, metric: str) -> Result:
        """One number of a point, with its interval where it has one."""
        return Result(
            run=self.run_id,
            stage="mosaic",
            model="",
            metric=metric,
            value=row[metric],
            low=row.get(f"{metric}_low", math.nan),
            high=row.get(f"{metric}_high", math.nan),
            level=self.level,
            attack=row["attack"],
        )


def place_order(x: float) -> float:
    """Order a place on an axis; what is no number comes last."""
    return math.inf if math.isnan(x) else x


def read_mosaic_view(run: Path, *, title: str, run_id: str = "") -> MosaicView:
    """Read a run folder; all but its points may be absent. DataError: no points."""
    path = run / POINTS_FILE
    if not path.is_file():
        raise DataError(
            "The folder holds no mosaic run.",
            f"missing: {path}",
            "Finish it first: stillage mosaic run CONFIG.",
        )
    table = read_table(path)
    points = [without_nulls(row) for row in table.select(list(POINTS)).to_pylist()]
    curves = metadata(path, "conditions", {})
    conditions = listed_trainings(run)
    titles, documents = read_hosts(run / "books" / "books.parquet")
    return MosaicView(
        title=title,
        run_id=run_id,
        about=metadata(path, "run", {}),
        experiments=shown_experiments(metadata(path, "experiments", []), points),
        points=points,
        monitors=dict(read_monitors(run, conditions)),
        canaries=read_canary_facts(run / "canaries" / "canaries.parquet"),
        hosts=titles,
        documents=documents,
        survived=dict(count_survivors(run, conditions)),
        trainings=conditions,
        curves=curves,
        others={
            path.parent.name: read_canary_facts(path)
            for path in sorted(run.glob("canaries_*/canaries.parquet"))
        },
    )


def without_nulls(row: Row) -> Row:
    """A row without nulls: NaN for numbers, empty text, no flags, 0 for counts.

    Nor infinities, but for a place on an axis: pieces scattered without end.
    """
    empty = {"string": "", "double": math.nan, "list<string>": (), "int32": 0}
    filled = dict[str, Any]()
    for name, kind in POINTS.items():
        value = row[name]
        is_odd = kind == "double" and value is not None and not math.isfinite(value)
        lacks = value is None or (is_odd and not (name == "x" and math.isinf(value)))
        filled[name] = empty[kind] if lacks else value
    return filled


def metadata(path: Path, key: str, otherwise: Any) -> Any:  # noqa: ANN401 - JSON
    """Read JSON from the metadata of a Parquet file; `otherwise` where there is none."""
    import pyarrow.parquet as pq

    text = (pq.read_metadata(path).metadata or {}).get(key.encode())
    return otherwise if text is None else json.loads(text)


def shown_experiments(told: Sequence[Row], points: Sequence[Row]) -> list[Shown]:
    """List the experiments that were asked for, then those that only points name."""
    listed = [
        Shown(
            name=one["name"],
            title=one.get("title") or one["name"],
            axis=one.get("axis") or "",
            shows=one.get("shows") or "rho",
            note=one.get("note") or "",
            copies=int(one.get("copies") or 0),
            published=tuple(
                (str(series), float(x), float(value))
                for series, x, value in one.get("published") or ()
            ),
        )
        for one in told
    ]
    named = {one.name for one in listed}
    others = dict.fromkeys(row["experiment"] for row in points if row["experiment"] not in named)
    return [*listed, *(Shown(name=name, title=name or "no name") for name in others)]


def read_hosts(path: Path) -> tuple[list[str], int]:
    """Titles of the documents that hold canaries, and how many documents there are."""
    import pyarrow.parquet as pq

    if not path.is_file():
        return [], 0
    rows = pq.read_table(path, columns=["title", "is_host"]).to_pylist()
    return [row["title"] or "no title" for row in rows if row["is_host"]], len(rows)


def read_canary_facts(path: Path) -> Canaries:
    """Read perplexities and buckets of the canaries, and how they were made; no text."""
    import pyarrow.parquet as pq

    if not path.is_file():
        return Canaries()
    table = pq.read_table(path, columns=["role", "perplexity", "bucket", "ids"])
    perplexity, buckets = dict[str, list[float]](), dict[int, int]()
    for row in table.to_pylist():
        perplexity.setdefault(row["role"] or "", []).append(
            math.nan if row["perplexity"] is None else row["perplexity"]
        )
        if row["bucket"] is not None:
            buckets[row["bucket"]] = buckets.get(row["bucket"], 0) + 1
    lengths = [len(ids or ()) for ids in table["ids"].to_pylist()] or [0]
    return Canaries(
        perplexity=perplexity,
        buckets=dict(sorted(buckets.items())),
        lengths=(min(lengths), max(lengths)),
        made=metadata(path, "canaries", {}),
    )


def read_monitors(run: Path, conditions: Sequence[str]) -> Iterator[tuple[str, Sequence[Row]]]:
    """Read what was monitored in each training, where that is more than its end."""
    for name in conditions:
        path = run / name / "monitor.parquet"
        if path.is_file():
            rows = read_table(path).to_pylist()
            if len({row["step"] for row in rows}) > 1:
                yield name, rows


def listed_trainings(run: Path) -> list[str]:
    """Name the trainings of a run, those of its folders where it does not list them.

    None where the folder holds no run of mosaic memory.
    """
    path = run / POINTS_FILE
    if not path.is_file():
        return []
    files = [*run.glob("*/scores.parquet"), *run.glob("*/ledger.parquet")]
    found = sorted({path.parent.name for path in files})
    return list(metadata(path, "conditions", {})) or found


def count_survivors(run: Path, conditions: Sequence[str]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Count a training's injected pieces: those found again as they were, and all."""
    import pyarrow.parquet as pq

    for name in conditions:
        path = run / name / "ledger.parquet"
        if path.is_file():
            survived = pq.read_table(path, columns=["survived"])["survived"].to_pylist()
            yield name, (survived.count(True), len(survived))
