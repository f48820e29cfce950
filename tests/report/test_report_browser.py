"""The page in a real browser: it renders, fits a phone, asks nobody for anything, and reads in light, dark and print."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from chromium import Chromium
from PIL import Image

pytestmark = pytest.mark.browser

TEXT_TOO_WIDE = """[...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
  && e.getBoundingClientRect().right > innerWidth + 0.5).map(e => e.outerHTML.slice(0, 80))"""
CONTRAST = """(() => {
  const rgb = text => text.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const lum = c => { const [r, g, b] = c.map(v => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
                     return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const paper = lum(rgb(getComputedStyle(document.documentElement).backgroundColor));
  return ['h1', 'p.detail', '.note', '.keys dt', 'svg text', 'caption', 'summary'].map(name => {
    const style = getComputedStyle(document.querySelector(name));
    const ink = lum(rgb(name.startsWith('svg') ? style.fill : style.color));
    return [name, (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05)]; });
})()"""


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"), dtype=float)


def page(run: Path) -> Path:
    return run / "report" / "report.html"


def test_it_renders_every_part_without_asking_anyone(browser: Chromium, reported: Path) -> None:
    browser.open(page(reported), width=1280)
    assert browser.run("document.querySelectorAll('main section').length") >= 8
    assert browser.run("document.querySelectorAll('svg.figure').length") == 8
    assert browser.run(
        "[...document.querySelectorAll('svg.figure')].every(s => s.getBoundingClientRect().height > 100)"
    )
    assert (
        browser.run("getComputedStyle(document.querySelector('.badge')).borderRadius") == "34px"
    )  # the style applies
    assert browser.requests == [page(reported).as_uri()]
    assert (
        browser.complaints == []
    )  # no policy violation, no broken markup that the console knows of


def test_the_policy_stops_a_script_and_a_request(
    browser: Chromium, reported: Path, tmp_path: Path
) -> None:
    """The page's own policy, shown to bite: injected code neither runs nor loads anything."""
    html = page(reported).read_text(encoding="utf-8")
    injected = '<script>document.title = "owned"</script><img src="http://192.0.2.1/x.png" onerror="document.title=1">'
    copy = tmp_path / "injected.html"
    copy.write_text(html.replace("<main>", f"<main>{injected}"), encoding="utf-8")
    browser.open(copy, width=800)
    assert browser.run("document.title").startswith("quickstart")
    assert any("Content Security Policy" in text for text in browser.complaints)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_sideways_scroll_on_a_phone(browser: Chromium, reported: Path, scheme: str) -> None:
    browser.open(page(reported), width=390, height=844, scheme=scheme)
    assert browser.run("innerWidth") == 390
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.run("document.documentElement.scrollWidth") == 390
    assert browser.run(TEXT_TOO_WIDE) == []
    assert (
        browser.run("document.querySelector('section#membership .scroll').scrollWidth") > 390
    )  # the table, in its box


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_light_and_dark_are_readable(
    browser: Chromium, reported: Path, scheme: str, dark: bool
) -> None:
    browser.open(page(reported), width=1280, scheme=scheme)
    image = pixels(browser.screenshot())
    assert (np.median(image) < 60) == dark
    assert image.std() > 12  # not blank
    for name, ratio in browser.run(CONTRAST):
        assert ratio > 4.5, (name, ratio)


def test_figures_draw_something_in_both_schemes(browser: Chromium, reported: Path) -> None:
    for scheme in ("light", "dark"):
        browser.open(page(reported), width=900, height=900, scheme=scheme)
        browser.run("document.querySelector('#membership svg').scrollIntoView()")
        assert pixels(browser.screenshot()).std() > 12


def test_print_opens_the_folded_tables(browser: Chromium, reported: Path) -> None:
    browser.open(page(reported), width=800, media="print")
    hidden = "[...document.querySelectorAll('details table')].filter(t => t.getBoundingClientRect().height < 20).length"
    assert browser.run("document.querySelectorAll('details[open]').length") == 0
    assert browser.run(hidden) == 0
    pdf = browser.pdf()
    assert pdf.startswith(b"%PDF")
    assert 5 <= pdf.count(b"/Type /Page\n") <= 16


def test_a_figure_file_stands_alone(browser: Chromium, reported: Path) -> None:
    figure = reported / "report" / "figures" / "roc.svg"
    for scheme, dark in (("light", False), ("dark", True)):
        browser.open(figure, width=600, height=600, scheme=scheme)
        image = pixels(browser.screenshot())
        assert image.std() > 8
        assert (np.median(image) < 60) == dark
