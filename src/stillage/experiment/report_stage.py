"""The report as a stage of a run: one page from the tables of earlier stages."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stillage.measures import MEASURES
from stillage.report.section import Section

if TYPE_CHECKING:
    from stillage.experiment.context import Context

REPORT = "report"


def report(context: Context, folder: Path) -> None:
    """Write the report from the tables of the stages before."""
    from stillage.report import write_report

    write_report(
        context.run,
        context.config.report,
        title=context.run.name,
        run_id=context.run_id,
        sections=list_sections(),
    )


def list_sections() -> list[Section]:
    """List the sections of the page that measures bring."""
    return [
        Section(name=measure.name, title=measure.title, tables=measure.tables)
        for measure in MEASURES.values()
    ]


def report_secret(run: Path, stage: str, settings: Mapping[str, Any]) -> str:
    """Return `secret_of` the report; nothing of another stage, or a mosaic page."""
    return secret_of(run, settings["report"]) if stage == REPORT and "report" in settings else ""


def secret_of(run: Path, look: Mapping[str, Any]) -> str:
    """Return the run's key, a part of the report's; empty if texts are shown."""
    from stillage.report.private import KEY_FILE, run_key

    return run_key(run).hex() if not look.get("show_text") and (run / KEY_FILE).is_file() else ""
