"""The end of a sweep: all results in one table, its points side by side, one page, and the lines for the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillage.errors import DataError, UserError
from stillage.experiment.side_by_side import SideBySide, side_by_side
from stillage.report.sweep import SweepPoint, SweepView, write_sweep_report
from stillage.run.results import write_results
from stillage.run.sweep import gather, is_reported, points_of


def report_sweep(out: Path, failed: Mapping[str, Exception]) -> list[str]:
    """Write <out>/results.parquet and <out>/report/; returns the summary's lines. failed: points, and their errors.

    DataError where no point is finished and none failed; points that cannot be compared are listed nevertheless.
    """
    if not gather(out) and not failed:
        raise DataError(
            f"No point of the sweep {out} is finished.",
            f"points: {len(points_of(out))}",
            "Do them first, with the command that started the sweep.",
        )
    found, trouble = compared(out)
    points = [
        SweepPoint(
            name=point["name"],
            values=point["values"],
            is_finished=is_reported(out, point),
            state=state(out, point, failed),
        )
        for point in points_of(out)
    ]
    view = SweepView(
        title=out.resolve().name,
        points=points,
        seeds=found.seeds if found else {},
        results=found.results if found else (),
        level=found.level if found else 0.95,
        doubtful=found.doubtful if found else (),
        said=[*trouble, *(found.said if found else ())],
    )
    lines = write_sweep_report(out / "report", view)
    if found:
        write_results(out / "report" / "compare.parquet", found.results)
    return lines


def compared(out: Path) -> tuple[SideBySide | None, list[str]]:
    """The finished points side by side, or why they cannot be."""
    try:
        return side_by_side([out], is_strict=False), []
    except DataError as error:
        return None, [f"the points are not compared: {error.what}"]


def state(out: Path, point: Mapping[str, object], failed: Mapping[str, Exception]) -> str:
    """How a point ended; the text of an error that is none of ours may quote a record, and is in the log alone."""
    error = failed.get(str(point["name"]))
    if error is not None:
        return error.what if isinstance(error, UserError) else type(error).__name__
    return "finished" if is_reported(out, point) else "not finished"
