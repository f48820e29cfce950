"""The README's picture of a report: `python docs/images/make_screenshot.py runs/quickstart/report/report.html`.

Needs a system Chromium. Two columns: the head of the page with its checks, and what distilling gave and gave away.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "tests" / "report"))

from chromium import Chromium  # noqa: E402 - the driver that the browser tests use

WIDTH, PAPER = 880, "#fdfcf9"


def column(browser: Chromium, first: str, last: str) -> Image.Image:
    """The page from the top of one element to the bottom of another."""
    top = browser.run(f"document.querySelector('{first}').getBoundingClientRect().top + scrollY")
    bottom = browser.run(
        f"document.querySelector('{last}').getBoundingClientRect().bottom + scrollY"
    )
    clip = {"x": 0, "y": max(0, top - 26), "width": WIDTH, "height": bottom - top + 52, "scale": 1}
    answer = browser.ask(
        "Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True
    )
    return Image.open(io.BytesIO(base64.b64decode(answer["data"]))).convert("RGB")


def main(report: Path, target: Path) -> None:
    """Write the picture of `report` to `target`."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        Chromium(Path(profile)) as browser,
    ):
        browser.open(report, width=WIDTH, height=1200)
        left, right = (
            column(browser, "header", "#validity"),
            column(browser, "#halves h2", "#models"),
        )
    picture = Image.new("RGB", (2 * WIDTH, max(left.height, right.height)), PAPER)
    picture.paste(left, (0, 0))
    picture.paste(right, (WIDTH, 0))
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(256, kmeans=3, dither=Image.Dither.NONE).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else HERE / "report.png")
