"""The report as a stage of a run: one page from the tables of the stages before it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stillage.experiment.context import Context

REPORT = "report"


def report(context: Context, folder: Path) -> None:
    """Write the report from the tables of the stages before."""
    from stillage.report import write_report

    write_report(context.run, context.config.report, title=context.run.name, run_id=context.run_id)


def secret_of(run: Path, look: Mapping[str, Any]) -> str:
    """Return the run's key where it has one and texts are not shown: a part of the report's key."""
    from stillage.report.private import KEY_FILE, run_key

    return run_key(run).hex() if not look.get("show_text") and (run / KEY_FILE).is_file() else ""
