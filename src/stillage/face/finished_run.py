"""A finished run as tables, a curve and a page."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from stillage.errors import CapabilityError, DataError, did_you_mean, listed
from stillage.face.python_names import with_python_names

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from matplotlib.figure import Figure
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

    from stillage.types import Array

TABLES: Mapping[str, tuple[str, ...]] = {
    "results": ("results.parquet", "report/results.parquet"),
    "scores": ("audit/scores.parquet",),
}
"""Table -> where it may lie: a sweep's results, or those of a run's report."""
SCORES_FILE = "scores.parquet"  # of each training of a run of mosaic memory


class Run:
    """A run folder, or the folder of a sweep.

    What a function made in a temporary folder is removed with the Run that it returned.
    """

    def __init__(self, folder: str | Path, *, temporary: object = None) -> None:
        """Look at a folder. DataError where there is no run.

        temporary: what owns the folder, kept as long as the Run.
        """
        self.folder = Path(folder)
        self.temporary = temporary
        if not any((self.folder / name).is_file() for name in ("config.yaml", "sweep.json")):
            raise DataError(
                f"There is no run in {folder}.",
                "looked for: config.yaml, sweep.json",
                "Give the folder that out= or --out named.",
            )

    def __repr__(self) -> str:
        """Name the folder."""
        return f"Run({str(self.folder)!r})"

    def results(self) -> pd.DataFrame:
        """Return every number with its interval, a row each."""
        return frame(made_table(self.folder, "results"))

    def scores(self) -> pd.DataFrame:
        """Return what each attack says of each record about each model, a row each.

        Of a run of mosaic memory: condition (the training), canary, role, attack, score.
        """
        trainings = trainings_of(self.folder)
        return frame(
            mosaic_scores(self.folder, trainings)
            if trainings
            else made_table(self.folder, "scores")
        )

    def metrics(self, model: str = "student") -> pd.DataFrame:
        """Return what a training wrote down on its way: step, loss, learning rate, ..."""
        import pyarrow.json

        path = self.folder / model / "metrics.jsonl"
        if not path.is_file():
            raise lacking(self.folder, f"metrics of {model}", path)
        return frame(pyarrow.json.read_json(path))

    def table(self) -> pd.DataFrame:
        """Return the AUC of each model under each attack, with its interval.

        Of a sweep each point has its rows, with the settings that the sweep varies in front.
        """
        import pyarrow.compute as pc

        from stillage.run.sweep import points_of

        is_sweep = (self.folder / "sweep.json").is_file()
        swept = (
            [path for point in points_of(self.folder) for path in point["values"]]
            if is_sweep
            else []
        )
        shown = [*dict.fromkeys(swept), "model", "attack", "value", "low", "high", "level", "n"]
        wanted = (pc.field("metric") == "auc") & (pc.field("model") != "blind")
        rows = made_table(self.folder, "results").filter(wanted).select(shown)
        return frame(rows.rename_columns({"value": "auc"}))

    @with_python_names()
    def plot_roc(self, attack: str = "") -> Figure:
        """Draw the ROC curve of every model under one attack.

        attack: empty: the first that was asked for. The figure belongs to the caller:
        figure.savefig("roc.png"). DataError for a run of mosaic memory, which has no one model.
        """
        from matplotlib.figure import Figure

        refuse_mosaic(self.folder)
        curves = roc_curves(self, attack)
        figure = Figure(figsize=(5, 5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="guessing")
        for number, (label, (fpr, tpr)) in enumerate(curves.items()):
            axes.plot(fpr, tpr, linestyle=("-", "--", "-.")[number % 3], label=label)
        axes.set(xlabel="nonmembers above the threshold", ylabel="members above the threshold")
        axes.legend(loc="lower right")
        return figure

    @property
    def report(self) -> Path:
        """The page of the run. DataError where it has none."""
        path = self.folder / "report" / "report.html"
        if not path.is_file():
            raise lacking(self.folder, "report", path)
        return path

    def summary(self) -> str:
        """Return the few lines that the command line ends with."""
        return self.report.with_name("summary.txt").read_text(encoding="utf-8")

    def save(self, path: str | Path) -> Path:
        """Copy the page of the run, which needs no other file."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(self.report, path))

    def model_folder(self, name: str = "student") -> Path:
        """Name the folder of a model that the run trained."""
        folder = self.folder / name / "model"
        if not folder.is_dir():
            if (folder.parent / "scores.parquet").is_file():
                raise DataError(
                    f"{self.folder} kept no model {name}: it was measured and let go.",
                    f"not there: {folder}",
                    "To train it again and keep it: --mosaic.keep-models true --accept-changes.",
                )
            raise lacking(self.folder, f"model {name}", folder)
        return folder

    def load_model(self, name: str = "student") -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
        """Load a model that the run trained, with its tokenizer."""
        from stillage.face.answering import load_pair
        from stillage.run.config import ModelConfig

        return load_pair(ModelConfig(path=str(self.model_folder(name))))


def frame(table: pa.Table) -> pd.DataFrame:
    """Return a table as a DataFrame. CapabilityError where pandas is missing."""
    try:
        return table.to_pandas()
    except ImportError as error:
        raise CapabilityError(
            "Tables come as pandas.DataFrame, and pandas is not installed.",
            str(error),
            "pip install 'stillage[pandas]', or read the Parquet files of the run folder.",
        ) from error


def trainings_of(folder: Path) -> list[str]:
    """Name the trainings of a mosaic run that have scores; none for other runs."""
    from stillage.report.mosaic_view import listed_trainings

    return [name for name in listed_trainings(folder) if (folder / name / SCORES_FILE).is_file()]


def mosaic_scores(folder: Path, trainings: Sequence[str]) -> pa.Table:
    """Read the scores of canaries under each training, its name in front."""
    import pyarrow as pa

    from stillage.run.folder import read_table

    tables = []
    for name in trainings:
        table = read_table(folder / name / SCORES_FILE).replace_schema_metadata(None)
        tables.append(table.add_column(0, "condition", pa.array([name] * table.num_rows)))
    return pa.concat_tables(tables)


def refuse_mosaic(folder: Path) -> None:
    """Raise DataError for a mosaic run: its models are many, and have no one curve."""
    if trainings := trainings_of(folder):
        raise DataError(
            f"{folder} is a run of mosaic memory: its ROC curves are not drawn.",
            f"trainings with scores: {listed(trainings, 4)}",
            "Take scores(), a row for each condition, canary and attack; AUCs are in results().",
        )


def made_table(folder: Path, what: str) -> pa.Table:
    """Read a table of TABLES. DataError where the run has not made it."""
    from stillage.run.folder import read_table

    paths = [folder / place for place in TABLES[what]]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        raise lacking(folder, what, paths[-1])
    return read_table(path)


def lacking(folder: Path, what: str, path: Path) -> DataError:
    """Make the error for what a run has not made."""
    return DataError(
        f"{folder} has no {what}.",
        f"not there: {path}",
        "Do the stage that makes it: evaluate, audit or train, with a report at the end.",
    )


def roc_curves(run: Run, attack: str) -> dict[str, tuple[Array, Array]]:
    """Return the curve of every model: a label with its AUC, and FPR and TPR.

    attack: empty: the first in the table. DataError for one that the run has not.
    """
    from stillage.audit.scores import BLIND, Scores
    from stillage.functional.stats import roc_auc, roc_curve

    scores = Scores(made_table(run.folder, "scores"))
    known = list(dict.fromkeys(name for model, name in scores.pairs if model != BLIND))
    attack = attack or known[0]
    if attack not in known:
        fix = did_you_mean(attack, known, "Choose one of these.")
        values = f"its attacks: {', '.join(known)}"
        raise DataError(f"The run has no attack {attack!r}.", values, fix)
    curves: dict[str, tuple[Array, Array]] = {}
    for model in (model for model, name in scores.pairs if name == attack):
        one = scores.of(model, attack)
        roc, auc = roc_curve(one.scores, one.is_member), roc_auc(one.scores, one.is_member)
        curves[f"{model}, {attack}: AUC {auc:.2f}"] = roc.fpr, roc.tpr
    return curves
