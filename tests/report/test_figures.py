"""Figures: texts of any script that nothing cuts or covers, round ticks, and the right heat."""

import re
import zlib
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray

from pipeline.metrics import METRICS
from pipeline.report.comparison import compare
from pipeline.report.evidence import Curve, Predictions
from pipeline.report.figures.heat import (
    AttentionMap,
    draw_attention_maps,
    draw_confusion,
    draw_numbers,
)
from pipeline.report.figures.plots import (
    LATENCY,
    SIZE,
    CostAxis,
    draw_learning_curves,
    draw_pareto,
    thin_out,
)
from pipeline.report.figures.svg import (
    STUDENT_COLOUR,
    Figure,
    log_ticks,
    round_ticks,
    shorten,
    text_width,
)
from pipeline.report.metrics_files import read_all_metrics
from tests.report.made_report import Metrics, write_full_report

SVG = "{http://www.w3.org/2000/svg}"
TOKENS = {
    "latin": ("[CLS]", "Colombia", "immediately", "commentators", "WWWWWWWWWWWW", "[SEP]"),
    "chinese": ("[CLS]", "中", "文", "新闻标题很长很长很长", "。", "[SEP]"),
    "arabic": ("[CLS]", "الأخبار", "العربية", "\N{GRINNING FACE}", "é", "[SEP]"),
}


@dataclass(frozen=True)
class Box:
    """Where a text stands."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def texts_of(svg: ElementTree.Element) -> list[Box]:
    """Return the boxes of all texts of a drawing."""
    boxes = []
    for element in svg.iter(f"{SVG}text"):
        x, y, size = (float(element.attrib[name]) for name in ("x", "y", "font-size"))
        text = "".join(element.itertext())
        width = text_width(text, size)
        before = width * {"start": 0.0, "middle": 0.5, "end": 1.0}[element.attrib["text-anchor"]]
        if "transform" in element.attrib:  # upright, so that it begins below
            boxes.append(Box(text, x - size / 2, y + before - width, x + size / 2, y + before))
        else:
            boxes.append(Box(text, x - before, y - size / 2, x + width - before, y + size / 2))
    return boxes


def drawn(figure: Figure) -> ElementTree.Element:
    return ElementTree.fromstring(figure.document())


def has_room(svg: ElementTree.Element) -> int:
    """Check that no text crosses the edge, and return their number."""
    _, _, width, height = map(float, svg.attrib["viewBox"].split())
    boxes = texts_of(svg)
    for box in boxes:
        assert box.left >= -0.5 and box.right <= width + 0.5, box
        assert box.top >= -0.5 and box.bottom <= height + 0.5, box
    return len(boxes)


def attended(tokens: tuple[str, ...]) -> Figure:
    maps = [AttentionMap(f"layer {n}", np.eye(len(tokens)), tokens, STUDENT_COLOUR) for n in "12"]
    return draw_attention_maps(maps)


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
def test_names_have_room(tokens: tuple[str, ...]) -> None:
    """Catches names that are cut at the edge, without an ellipsis: 'olombia'."""
    svg = drawn(attended(tokens))
    assert has_room(svg) == 2 + 4 * len(tokens)
    names = [box.text for box in texts_of(svg)]
    assert names.count(tokens[1]) == 4
    figure = drawn(draw_confusion(np.eye(len(tokens), dtype=np.int64), tokens, "#2f74d0"))
    assert has_room(figure) == 3 * len(tokens) + 2
    assert [box.text for box in texts_of(figure)].count(tokens[1]) == 2


def test_every_figure_of_a_report_has_room(tmp_path: Path) -> None:
    """Catches a label below the edge, and a number that an axis has no margin for."""
    page = (write_full_report(tmp_path, "kd-3", "cnn") / "report.html").read_text("utf-8")
    figures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    assert len(figures) == 13
    for figure in figures:
        svg = ElementTree.fromstring(figure.replace("<svg", f'<svg xmlns="{SVG[1:-1]}"', 1))
        assert has_room(svg) > 3


def test_a_cut_name_says_so() -> None:
    """Catches a name without its ellipsis, and one that is cut without need."""
    assert shorten("Colombia", 56, 9) == "Colombia"
    assert shorten("commentators", 56, 9).endswith("…")
    assert text_width(shorten("中" * 20, 56, 9), 9) <= 56
    assert len(shorten("中" * 20, 56, 9)) < len(shorten("a" * 20, 56, 9))


@pytest.mark.parametrize(
    ("low", "high"),
    [(2.179, 2.6491), (-1, 5), (0.001, 0.0015), (1e4, 2e4), (1e4, 2e6), (1e-7, 3e-7)],
)
def test_ticks_are_round_and_alike(low: float, high: float) -> None:
    """Catches '2.2' beside '2.18', equal ticks, and names that are other numbers."""
    ticks = round_ticks(low, high, 5)
    names = [name for _, name in ticks]
    assert 2 <= len(names) <= 7
    assert all(one != other for one, other in pairwise(names))
    if high < 1e6 and high - low > 1e-3:
        assert len({len(name.partition(".")[2]) for name in names}) == 1
    for value, name in ticks:
        assert low <= value <= high
        assert float(name.replace(",", "")) == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize(("low", "high"), [(0.5, 0.7), (0.3, 7.2), (0.011, 2.5), (1, 1e6)])
def test_logarithmic_ticks_are_few_and_round(low: float, high: float) -> None:
    """Catches an axis without a number, and one that is black of them."""
    ticks = log_ticks(low, high)
    assert 2 <= len(ticks) <= 12
    assert all(low <= value <= high * (1 + 1e-9) for value, _ in ticks)
    assert [float(name) for _, name in ticks] == pytest.approx([value for value, _ in ticks])


@pytest.mark.parametrize(("low", "high"), [(-1.0, 5.0), (3.0, 3.0), (1e4, 2e6)])
def test_equal_numbers_lie_on_the_line(low: float, high: float) -> None:
    """Catches a heat map upside down, an empty range, and ticks of another scale."""
    numbers: Any = np.linspace(low, high, 20)[:, None]
    figure = draw_numbers(Predictions("regression", numbers[:, 0], numbers, numbers, pa.table({})))
    svg = drawn(figure)
    assert has_room(svg) > 4
    rows, columns = np.nonzero(opacities(svg))
    assert len(rows) >= 1
    assert (rows + columns == 39).all()  # from below left to above right


def opacities(svg: ElementTree.Element) -> NDArray[np.uint8]:
    """Return how opaque the pixels of a drawing's first map are, after checking its checksums."""
    image = next(svg.iter(f"{SVG}image")).attrib["href"]
    png = b64decode(image.removeprefix("data:image/png;base64,"))
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, place = {}, 8
    while place < len(png):
        size = int.from_bytes(png[place : place + 4])
        kind, data = png[place + 4 : place + 8], png[place + 8 : place + 8 + size]
        assert int.from_bytes(png[place + 8 + size : place + 12 + size]) == zlib.crc32(kind + data)
        chunks[kind] = data
        place += 12 + size
    width, height = (int.from_bytes(chunks[b"IHDR"][n : n + 4]) for n in (0, 4))
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, -1)
    assert (lines[:, 0] == 0).all()
    return lines[:, 1:].reshape(height, width, 4)[..., 3]


def test_heat_is_the_value() -> None:
    """Catches a transposed matrix, and values out of range that wrap around."""
    drawing = Figure(10, 10)
    drawing.heat((0, 0), (10, 10), np.array([[0, 0.5, 1], [2, np.nan, -1]]), STUDENT_COLOUR)
    found = opacities(drawn(drawing))
    assert found.tolist() == [[0, 102, 204], [204, 0, 0]]


def test_one_panel_a_layer() -> None:
    """Catches layers beyond one line of panels that are lost, and scales of their own."""
    values = {layer: np.full((4, 4), 0.1 * layer) for layer in (1, 2, 3, 4)}
    tokens = ["$a$", "_b^", "日本", ""]
    maps = [AttentionMap(f"layer {n}", one, tokens, STUDENT_COLOUR) for n, one in values.items()]
    svg = drawn(draw_attention_maps(maps, "the teacher: a & b"))
    has_room(svg)
    texts = [box.text for box in texts_of(svg)]
    assert [text for text in texts if text.startswith("layer")] == [one.title for one in maps]
    assert "the teacher: a & b" in texts and "日本" in texts
    assert any("fullest colour: 0.4" in text for text in texts)
    assert (opacities(svg) == 102).all()  # half of the fullest, whose root is twice as large


@pytest.mark.parametrize("n_tokens", [1, 2, 30, 128, 512])
def test_token_names_never_overlap(n_tokens: int) -> None:
    """Catches a name for each of 128 tokens, of which none can be read."""
    tokens = [f"t{number}" for number in range(n_tokens)]
    maps = [AttentionMap("layer 1", np.eye(n_tokens), tokens, STUDENT_COLOUR)]
    svg = drawn(draw_attention_maps(maps, "a title that is wider than the map of a single token"))
    has_room(svg)
    names = [box for box in texts_of(svg) if re.fullmatch(r"t\d+", box.text)]
    assert len(names) == 2 * n_tokens if n_tokens <= 30 else len(names) > 40
    assert not any(one.overlaps(other) for one, other in combinations(names, 2))


@pytest.mark.parametrize("axis", [LATENCY, SIZE], ids=lambda axis: axis.name)
def test_names_of_near_points_do_not_overlap(
    make_metrics: Callable[..., Metrics], write_metrics: Callable[[Metrics], Path], axis: CostAxis
) -> None:
    """Catches names written over each other, the usual end of such a figure."""
    paths = []
    for index in range(7):
        metrics = make_metrics(f"student-{index}", accuracy=0.85 + 0.002 * index)
        metrics["cost"]["student"]["latency_ms"] = 2.5 + 0.02 * index
        metrics["cost"]["student"]["n_parameters"] = 4_000_000 + 30_000 * index
        paths.append(write_metrics(metrics))
    svg = drawn(draw_pareto(compare(read_all_metrics(paths)), axis))
    has_room(svg)
    boxes = [box for box in texts_of(svg) if box.text == "teacher" or "student-" in box.text]
    assert len(boxes) == 8
    assert not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_curves_are_drawn_to_scale() -> None:
    """Catches a curve that is cut, and a loss of 0 on a logarithmic axis."""
    steps = np.arange(5)
    curves = {
        "train/soft_target": Curve(steps, np.array([4.0, 2.0, 1.0, 0.5, 0.25])),
        "train/cls": Curve(steps, np.array([4.0, 2.0, 1.0, 0.0, 0.0])),
        "validation/accuracy": Curve(steps[-1:], np.array([0.5])),
    }
    for names in (("train/soft_target",), tuple(curves)):
        chosen = {name: curves[name] for name in names}
        svg = drawn(draw_learning_curves(chosen, METRICS["accuracy"], 0.75))
        has_room(svg)
        lines = [
            line for line in svg.iter(f"{SVG}polyline") if line.attrib["stroke-width"] == "1.6"
        ]
        (points,) = [
            [tuple(map(float, point.split(","))) for point in line.attrib["points"].split()]
            for line in lines
            if len(line.attrib["points"].split()) == 5 and line.attrib["stroke"] == STUDENT_COLOUR
        ]
        falls = np.diff([y for _, y in points])
        is_log = len(names) == 1
        assert np.allclose(falls, falls[0], atol=0.11) == is_log
        assert [line for line in svg.iter(f"{SVG}polyline") if "stroke-dasharray" in line.attrib]


@pytest.mark.parametrize("values", [[np.inf, 900.0, 12.0], [np.nan] * 3])
def test_what_is_no_number_has_no_place(values: list[float]) -> None:
    """Catches a report that fails for a perplexity that was infinite at first."""
    curve = Curve(np.arange(3), np.array(values))
    curves = {"train/soft_target": curve, "validation/perplexity": curve}
    svg = drawn(draw_learning_curves(curves, METRICS["perplexity"], 10.0))
    assert has_room(svg) > 4 and b"nan" not in ElementTree.tostring(svg)


def test_long_curves_are_thinned_out() -> None:
    """Catches a page of megabytes, and a last step that is lost."""
    curve = Curve(np.arange(1000), np.linspace(0, 1, 1000))
    thin = thin_out(curve)
    assert len(thin.steps) == 120 and thin.steps[-1] == 999
    assert thin.values[-1] == pytest.approx(curve.values[-8:].mean())
