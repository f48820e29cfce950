"""The report stage: one page from the tables of the stages before it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stillage.experiment.plan import Context


def report(context: Context, folder: Path) -> None:
    """The report, from the tables of the stages before."""
    from stillage.report import write_report

    write_report(context.run, context.config.report, title=context.run.name, run_id=context.run_id)
