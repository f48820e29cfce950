"""A run as tables, curves and a page; what it lacks is said in three lines."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pytest

import stillage as st
from stillage.errors import DataError
from stillage.face.finished_run import roc_curves
from stillage.functional.stats import roc_auc
from stillage.run.folder import read_table, write_json, write_table
from stillage.run.results import write_results
from stillage.types import Result

if TYPE_CHECKING:
    from conftest import Rows, Tiny  # pyright: ignore[reportMissingImports]


@pytest.fixture(scope="module")
def audit(tiny: Tiny, rows: Callable[[int, int], Rows]) -> st.Run:
    small = {"threads": 1, "data.template": "raw", "audit.extract_tokens": 3, "audit.fprs": [0.2]}
    return st.audit_models(
        tiny.folder("student"),
        members=rows(0, 20),
        nonmembers=rows(20, 40),
        teacher=tiny.folder("teacher"),
        attacks=["zlib", "loss"],
        settings=small,
    )


def made_up(folder: Path, scores: list[float]) -> st.Run:
    """A run of one model and one attack, half of whose records are members."""
    count = len(scores)
    table = pa.table(
        {
            "model": ["student"] * count,
            "id": [f"record {number}" for number in range(count)],
            "group": [""] * count,
            "part": ["private"] * (count // 2) + ["nonmembers"] * (count - count // 2),
            "attack": ["loss"] * count,
            "score": scores,
        }
    )
    write_table(folder / "audit" / "scores.parquet", table)
    write_json(folder / "config.yaml", {})
    return st.Run(folder)


def test_the_table_is_the_scores_summed_up(audit: st.Run) -> None:
    table, scores = audit.table(), audit.scores()
    assert len(table) == 4 and set(table["model"]) == {"teacher", "student"}
    for row in table.to_dict("records"):
        own = scores[(scores["model"] == row["model"]) & (scores["attack"] == row["attack"])]
        auc = roc_auc(own["score"].to_numpy(), (own["part"] == "private").to_numpy())
        assert row["auc"] == auc and row["n"] == len(own) == 40
        assert row["low"] < auc < row["high"]


def test_every_number_has_a_row(audit: st.Run) -> None:
    results = audit.results()
    assert {"auc", "tpr_at_fpr", "extraction_rate"} <= set(results["metric"])
    assert {"value", "low", "high", "n", "seed"} <= set(results.columns)


def test_a_curve_of_every_model_and_the_line_of_guessing(audit: st.Run) -> None:
    (axes,) = audit.plot_roc().axes
    labels = [str(line.get_label()) for line in axes.lines]
    assert labels[0] == "guessing" and len(labels) == 3
    assert all(", zlib: AUC 0." in label for label in labels[1:])  # the first that was asked for
    (axes,) = audit.plot_roc("loss").axes
    assert "loss" in str(axes.lines[1].get_label())


def test_an_attack_that_was_not_run_is_refused(audit: st.Run) -> None:
    with pytest.raises(DataError, match="Did you mean zlib") as caught:
        audit.plot_roc("zlip")
    assert len(str(caught.value).splitlines()) == 3


def test_a_curve_of_scores_that_one_can_count(tmp_path: Path) -> None:
    run = made_up(tmp_path, [3.0, 2.0, float("nan"), 2.0, 1.0, 0.0])
    curves = roc_curves(run, "")
    assert list(curves) == ["student, loss: AUC 0.92"]  # of six pairs five and a half
    fpr, tpr = curves["student, loss: AUC 0.92"]
    assert np.allclose(fpr, [0, 0, 1 / 3, 2 / 3, 1]) and np.allclose(tpr, [0, 0.5, 1, 1, 1])


def test_scores_of_an_older_version_are_refused_in_three_lines(tmp_path: Path) -> None:
    run = made_up(tmp_path, [1.0, 0.0])
    path = tmp_path / "audit" / "scores.parquet"
    write_table(path, read_table(path).drop_columns(["group"]))
    with pytest.raises(DataError, match="older version") as caught:
        run.plot_roc()
    assert "missing columns: group" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 3


def test_a_run_of_mosaic_memory_gives_the_scores_of_its_trainings(tmp_path: Path) -> None:
    for name, score in (("exact_01", 0.5), ("replace_2_n2", 0.7)):
        row = {"canary": [3], "role": ["member"], "attack": ["loss"], "score": [score]}
        write_table(tmp_path / name / "scores.parquet", pa.table(row))
    told = {"conditions": '{"replace_2_n2": "exact_01", "exact_01": "exact_01"}'}
    write_table(tmp_path / "mosaic" / "points.parquet", pa.table({"x": [1.0]}), told)
    write_json(tmp_path / "config.yaml", {})
    run = st.Run(tmp_path)
    scores = run.scores()
    assert list(scores.columns) == ["condition", "canary", "role", "attack", "score"]
    assert dict(zip(scores["condition"], scores["score"], strict=True)) == {
        "replace_2_n2": 0.7,
        "exact_01": 0.5,
    }
    with pytest.raises(DataError, match="replace_2_n2; exact_01") as caught:
        run.plot_roc()
    assert len(str(caught.value).splitlines()) == 3


def test_the_table_of_a_grid_says_whose_rows_they_are(tmp_path: Path) -> None:
    """The same value in every column but those that the sweep varies."""
    points = [
        {"seed": str(seed), "distill.method": name} for seed in (1, 2) for name in ("kd", "sft")
    ]
    rows = [
        Result(
            run="r",
            stage="audit",
            model="student",
            metric="auc",
            value=0.5,
            attack="loss",
            seed=int(values["seed"]),
        )
        for values in points
    ]
    write_results(tmp_path / "results.parquet", rows, points)
    index = [{"name": f"{n}", "values": values, "run": "r"} for n, values in enumerate(points)]
    write_json(tmp_path / "sweep.json", {"points": index})
    table = st.Run(tmp_path).table()
    assert list(table.columns)[:4] == ["distill.method", "seed", "model", "attack"]
    found = {(row["seed"], row["distill.method"]) for row in table.to_dict("records")}
    assert found == {(1, "kd"), (1, "sft"), (2, "kd"), (2, "sft")} and len(table) == 4


def test_the_page_is_copied_and_the_lines_are_those_of_the_command(
    audit: st.Run, tmp_path: Path
) -> None:
    saved = audit.save(tmp_path / "new" / "page.html")
    assert saved.read_bytes() == audit.report.read_bytes()
    assert audit.summary().startswith("audit: ")
    assert repr(audit) == f"Run('{audit.folder}')"


def test_what_a_run_has_not_is_said(audit: st.Run, tmp_path: Path) -> None:
    empty = made_up(tmp_path / "run", [1.0, 0.0])
    for ask, said in (
        (empty.results, "has no results"),
        (empty.table, "has no results"),
        (empty.metrics, "has no metrics of student"),
        (empty.summary, "has no report"),
        (lambda: empty.save(tmp_path / "page.html"), "has no report"),
        (audit.model_folder, "has no model student"),
        (lambda: st.Run(tmp_path), "There is no run in"),
        (lambda: st.Run("no/such/run"), "There is no run in no/such/run"),
    ):
        with pytest.raises(DataError, match=said) as caught:
            ask()
        assert len(str(caught.value).splitlines()) == 3


def test_a_model_that_was_measured_and_let_go_is_told_from_one_that_never_was(
    tmp_path: Path,
) -> None:
    run = made_up(tmp_path, [1.0, 0.0])
    write_json(tmp_path / "exact_01" / "scores.parquet", {})
    with pytest.raises(DataError, match=r"measured and let go(.|\n)*keep-models"):
        run.load_model("exact_01")
    with pytest.raises(DataError, match="has no model exact_02"):
        run.load_model("exact_02")


def test_without_pandas_the_error_says_what_to_install(tmp_path: Path) -> None:
    """In a process of its own: pyarrow remembers that it has seen pandas."""
    made_up(tmp_path, [1.0, 0.0])
    code = textwrap.dedent(
        """
        import sys
        class Hidden:
            def find_spec(self, name, *given):
                if name == "pandas":
                    raise ModuleNotFoundError("No module named 'pandas'")
        sys.meta_path.insert(0, Hidden())
        import stillage as st
        from stillage.errors import CapabilityError
        try:
            st.Run(sys.argv[1]).scores()
        except CapabilityError as error:
            print(error)
        """
    )
    words = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "pip install 'stillage[pandas]'" in done.stdout
    assert len(done.stdout.splitlines()) == 3
