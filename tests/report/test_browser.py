"""The report as a browser shows it: all figures, light, dark and on a phone, and no request."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.report.made_report import write_full_report

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on the PATH")

OPTIONS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)

N_FIGURES = {
    "cost": 2,
    "learning": 2,
    "confidence": 2,
    "confusions": 3,
    "layers": 2,
    "attention": 2,
}

FIGURES = """section => [...document.querySelectorAll(`section#${section} svg`)].map(svg => {
  const box = svg.getBoundingClientRect();
  const count = (parts, size) => [...svg.querySelectorAll(parts)].filter(
    part => size(part.getBoundingClientRect()) > 0
  ).length;
  return {
    width: box.width, height: box.height,
    drawn: count("polyline, polygon, circle, image, rect", area => area.width + area.height),
    texts: count("text", area => Math.min(area.width, area.height)),
    visible: svg.checkVisibility({opacityProperty: true, visibilityProperty: true}),
    right: box.right,
  };
})"""

INK = "() => getComputedStyle(document.querySelector('section svg text')).fill"
BACKGROUND = "() => getComputedStyle(document.body).backgroundColor"
TABLE = """() => {
  const box = document.querySelector('.scroll');
  return [box.scrollWidth > box.clientWidth, getComputedStyle(box).overflowX];
}"""
SCROLL = "() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every figure, of a Transformer and of a network; not to be changed."""
    return write_full_report(tmp_path_factory.mktemp("report"), "kd-3", "cnn") / "report.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(OPTIONS))
        yield browser
        browser.close()


@pytest.mark.parametrize(
    ("scheme", "width"),
    [("light", 1280), ("dark", 1280), ("light", 360), ("dark", 360)],
)
def test_every_figure_is_seen(browser: Any, report: Path, scheme: str, width: int) -> None:
    """Catches an empty or hidden figure, ink on ink, a page wider than the screen, a request."""
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(report.as_uri())
    for section, count in N_FIGURES.items():
        figures = page.evaluate(FIGURES, section)
        assert len(figures) == count, section
        for figure in figures:
            assert figure["visible"], section
            assert figure["width"] > 100, section
            assert figure["height"] > 40, section
            assert figure["right"] <= width, section
            assert figure["drawn"] > 1, section
            assert figure["texts"] > 3, section
    scroll_width, client_width = page.evaluate(SCROLL)
    assert scroll_width <= client_width
    assert page.evaluate(TABLE) == [True, "auto"], "its last columns cannot be reached"
    ink, background = brightness(page.evaluate(INK)), brightness(page.evaluate(BACKGROUND))
    assert (ink < background) == (scheme == "light")
    assert abs(ink - background) > 128
    # What lies in the page itself is not asked for.
    assert [url for url in requests if not url.startswith("data:")] == [report.as_uri()]
    assert complaints == []
    page.close()


def brightness(colour: str) -> float:
    """Return the mean of the three numbers of `rgb(r, g, b)`, 0 to 255."""
    red, green, blue = colour.removeprefix("rgb(").removesuffix(")").split(",")
    return (int(red) + int(green) + int(blue)) / 3
