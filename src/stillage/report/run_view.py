"""What the report reads of a run folder; stages that did not run are absent."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.audit.control_models import OUTSIDE
from stillage.audit.design import serves_attacks
from stillage.errors import DataError
from stillage.report.private import Disclosure
from stillage.report.wording import own_name, words
from stillage.run.folder import read_json, read_table, sha256_file
from stillage.run.parse import written_settings
from stillage.run.results import read_results
from stillage.types import Result

if TYPE_CHECKING:
    import pyarrow as pa

MODELS = (
    "teacher",
    "student",
    "student_minimal",
    "student_counterfactual",
    "student_no_teacher",
    "teacher_counterfactual",
)
"""Reading order of the model parts in every table and figure; other names follow, sorted."""

INPUTS = (
    "config.yaml",
    "env.json",
    "data/records.parquet",
    "data/split.json",
    "evaluate/samples.parquet",
    "evaluate/results.parquet",
    "audit/scores.parquet",
    "audit/extraction.parquet",
    "audit/results.parquet",
    "audit/validity.json",
    "blocks/results.parquet",
    "signal/results.parquet",
    "exposure/results.parquet",
    "dp/results.parquet",
)
STAGES = ("evaluate", "audit", "blocks", "signal", "exposure", "dp")
"""The stages that give results, in the order in which they are read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run as the report sees it.

    Tables are None and mappings empty where the stage did not run. The tables hold private texts.
    """

    run: Path
    results: tuple[Result, ...]
    samples: pa.Table | None
    scores: pa.Table | None
    extraction: pa.Table | None
    records: pa.Table | None
    validity: Mapping[str, Any]
    split: Mapping[str, Any]
    summaries: Mapping[str, Mapping[str, Any]]  # model part -> its summary.json
    parameters: Mapping[str, int]  # model part -> number of weights in its model folder
    config: Mapping[str, Any]
    config_text: str
    env: Mapping[str, Any]
    hashes: Mapping[str, str]  # path in the run folder -> sha256
    sight: Disclosure = field(default_factory=Disclosure)  # what of private texts may be shown

    @property
    def models(self) -> tuple[str, ...]:
        """Every model with a result, score, text or training, in reading order."""
        found = {result.model for result in self.results} | set(self.summaries)
        for table in (self.samples, self.scores):
            if table is not None:
                found |= set(table.column("model").unique().to_pylist())
        return order_models(found - {"blind", ""})

    @property
    def attacks(self) -> tuple[str, ...]:
        """Attacks with an AUC, in the order of the configuration, then by name."""
        found = {row.attack for row in self.rows("auc") if row.attack and row.model != "blind"}
        named = [name for name in self.setting("audit", "attacks", ()) if name in found]
        return tuple(named) + tuple(sorted(found - set(named)))

    @property
    def primary_attack(self) -> str:
        """The attack that the configuration names first: not chosen after looking."""
        return self.attacks[0] if self.attacks else ""

    @property
    def given_reference(self) -> str:
        """The name under which a given audit.reference is listed; empty: none was."""
        return OUTSIDE if self.setting("audit", "reference", "") else ""

    def called(self, model: str) -> str:
        """Name a model as tables and sentences do; a given reference by its own name."""
        if model == self.given_reference:
            return own_name(str(self.setting("audit", "reference", "")))
        return words(model)

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        of_families = ("detectable_auc", "family_tpr")  # at the level that allows for all attacks
        return next((row.level for row in self.results if row.metric not in of_families), 0.95)

    def setting(self, section: str, key: str, default: Any) -> Any:  # noqa: ANN401
        """One value of config.yaml, or `default`."""
        found = self.config.get(section)
        value = found.get(key, default) if isinstance(found, Mapping) else default
        return default if value is None else value

    def rows(self, metric: str, **columns: object) -> list[Result]:
        """List the results with a metric, and with these values in other columns."""
        return [
            row
            for row in self.results
            if row.metric == metric
            and all(getattr(row, name) == value for name, value in columns.items())
        ]

    def result(
        self,
        metric: str,
        model: str,
        *,
        attack: str = "",
        fpr: float | None = None,
        dataset: str = "",
    ) -> Result | None:
        """Find the result with a metric, and with what else is given.

        Of several, the one over most records (a slice has fewer), test data first.
        """
        columns: dict[str, object] = {"model": model}
        columns |= {"attack": attack} if attack else {}
        columns |= {"fpr": fpr} if fpr is not None else {}
        columns |= {"dataset": dataset} if dataset else {}
        rows = self.rows(metric, **columns)
        return max(rows, key=lambda row: (row.dataset == "test", row.n), default=None)


def order_models(names: set[str]) -> tuple[str, ...]:
    """Model names in reading order: known parts first, the others sorted."""
    return tuple(name for name in MODELS if name in names) + tuple(sorted(names - set(MODELS)))


def read_run(run: Path, measures: Sequence[str] = ()) -> RunView:
    """Read what there is of a run folder, with results of STAGES and these measures.

    DataError where it holds neither a configuration, nor results, nor a trained model.
    """
    stages = (run / stage / "results.parquet" for stage in dict.fromkeys((*STAGES, *measures)))
    results = [row for path in stages if path.is_file() for row in read_results(path)]
    found = {path.parent.name: read_json(path) for path in sorted(run.glob("*/summary.json"))}
    summaries = {name: summary for name, summary in found.items() if not serves_attacks(name)}
    config = run / "config.yaml"
    config_text = config.read_text(encoding="utf-8") if config.is_file() else ""
    if not (results or summaries or config_text):
        raise DataError(
            f"There is nothing to report in {run}.",
            "looked for: config.yaml, */summary.json, "
            f"{', '.join(i for i in INPUTS if i.endswith('results.parquet'))}",
            "Name the folder of a finished run (--out), or run one first: stillage run CONFIG.",
        )
    return RunView(
        run=run,
        results=tuple(row for row in results if not _is_timing(row)),
        samples=_table(run / "evaluate" / "samples.parquet"),
        scores=_table(run / "audit" / "scores.parquet"),
        extraction=_table(run / "audit" / "extraction.parquet"),
        records=_table(run / "data" / "records.parquet"),
        validity=_json(run / "audit" / "validity.json"),
        split=_json(run / "data" / "split.json"),
        summaries={
            name: summary for name, summary in summaries.items() if isinstance(summary, dict)
        },
        parameters={
            path.parent.name: count_parameters(path)
            for path in sorted(run.glob("*/model"))
            if path.is_dir() and not serves_attacks(path.parent.name)
        },
        config=written_settings(run),
        config_text=config_text,
        env=_json(run / "env.json"),
        hashes={name: sha256_file(run / name) for name in INPUTS if (run / name).is_file()},
    )


def count_parameters(model: Path) -> int:
    """Count the weights in a model folder's safetensors headers, a tied one once."""
    count = 0
    for path in sorted(model.glob("*.safetensors")):
        with path.open("rb") as file:
            header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        count += sum(
            math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__"
        )
    return count


def _is_timing(row: Result) -> bool:
    """Tell durations and speeds, which differ between equal runs."""
    return row.unit in ("s", "seconds", "tokens/s") or row.metric.endswith(("_s", "_per_second"))


def _table(path: Path) -> pa.Table | None:
    return read_table(path) if path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    value = read_json(path) if path.is_file() else {}
    return value if isinstance(value, dict) else {}
