"""How each point of a sweep ended, for its page."""

from __future__ import annotations

from pathlib import Path

import pytest

from stillage.errors import ConfigError, DataError
from stillage.experiment.finished_points import finished_points
from stillage.run.folder import write_json
from stillage.run.results import read_results, write_results
from stillage.run.stages import MANIFEST
from stillage.types import Result

ROW = Result(run="r", stage="audit", model="student", metric="auc", value=0.5)


def sweep(out: Path, finished: tuple[str, ...]) -> Path:
    """A sweep of two methods, of which some are finished."""
    names = ("method=kd", "method=sft")
    points = [{"name": name, "values": {"distill.method": name[7:]}, "run": name} for name in names]
    write_json(out / "sweep.json", {"points": points})
    for name in finished:
        write_results(out / name / "report" / "results.parquet", [ROW])
        write_json(out / name / "report" / MANIFEST, {})
    return out


def test_points_say_how_they_ended_and_their_results_are_gathered(tmp_path: Path) -> None:
    out = sweep(tmp_path, ("method=kd",))
    (kd, sft) = finished_points(out, {})
    assert (kd.is_finished, kd.state) == (True, "finished")
    assert (sft.is_finished, sft.state) == (False, "not finished")
    assert len(read_results(out / "results.parquet")) == 1


def test_an_error_of_ours_is_shown_by_its_kind_alone(tmp_path: Path) -> None:
    out = sweep(tmp_path, ())
    wrong = ConfigError("No such method.", "method: kdd", "Choose kd.")
    (kd, sft) = finished_points(out, {"method=kd": wrong, "method=sft": ValueError("a record")})
    assert (kd.state, sft.state) == ("No such method.", "ValueError")


def test_a_sweep_without_a_finished_point_has_no_page(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No point of the sweep"):
        finished_points(sweep(tmp_path, ()), {})
