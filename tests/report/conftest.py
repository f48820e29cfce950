"""The report's tests share one run folder and one browser, and find the two modules beside them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import chromium
import fixture_run

from stillage.report import write_report
from stillage.run.config import ReportConfig


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of 2 x 320 records, without a report; not to be changed."""
    return fixture_run.build(tmp_path_factory.mktemp("run") / "quickstart", people=320)


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    """A copy of the run folder that a test may change."""
    return shutil.copytree(built, tmp_path / "quickstart")


@pytest.fixture(scope="session")
def reported(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with its report; not to be changed."""
    folder = shutil.copytree(built, tmp_path_factory.mktemp("reported") / "quickstart")
    write_report(folder, ReportConfig(), title="quickstart")
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[chromium.Chromium]:
    """A headless Chromium; tests that want it skip where there is none."""
    if chromium.find() is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(chromium.NAMES)})")
    with chromium.Chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started
