"""Which of the given folders can be compared."""

from __future__ import annotations

import json
from pathlib import Path

from stillage.report.finished_runs import compared_runs


def test_an_unfinished_point_with_a_damaged_config_is_unfinished(tmp_path: Path) -> None:
    (tmp_path / "p1").mkdir()
    (tmp_path / "p1" / "config.yaml").write_text("a: [1,")
    points = [{"name": "p1", "values": {"seed": "1"}}]
    (tmp_path / "sweep.json").write_text(json.dumps({"points": points}))
    assert compared_runs([tmp_path]) == ([], [tmp_path / "p1"])
