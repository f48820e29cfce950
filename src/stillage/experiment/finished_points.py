"""The points of a sweep as its page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from stillage.errors import DataError
from stillage.report.sweep_page import SweepPoint
from stillage.run.sweep import gather, is_reported, point_state, points_of


def finished_points(out: Path, failed: Mapping[str, Exception]) -> list[SweepPoint]:
    """Gather a sweep's results and how its points ended; DataError where none did."""
    if not gather(out) and not failed:
        raise DataError(
            f"No point of the sweep {out} is finished.",
            f"points: {len(points_of(out))}",
            "Do them first, with the command that started the sweep.",
        )
    return [
        SweepPoint(
            name=point["name"],
            values=point["values"],
            is_finished=is_reported(out, point),
            state=point_state(out, point, failed),
        )
        for point in points_of(out)
    ]
