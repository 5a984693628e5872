"""Figures with texts of any script: no warnings, nothing cut at the edge, round ticks."""

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.evaluate.shown_parts import AttendedText, MapPair
from pipeline.report.evidence import Predictions
from pipeline.report.figures.attention_maps import build_attention_maps, draw_attention_maps
from pipeline.report.figures.confusion import build_confusion, draw_confusion
from pipeline.report.figures.numbers import build_numbers
from pipeline.report.figures.style import shorten_to, width_of

TOKENS = {
    "latin": ("[CLS]", "Colombia", "immediately", "commentators", "WWWWWWWWWWWW", "[SEP]"),
    "chinese": ("[CLS]", "中", "文", "新闻标题很长很长很长", "。", "[SEP]"),
    "arabic": ("[CLS]", "الأخبار", "العربية", "\N{GRINNING FACE}", "é", "[SEP]"),
}


def attended(tokens: tuple[str, ...]) -> tuple[AttendedText, MapPair]:
    values = tuple(map(tuple, np.eye(len(tokens)).tolist()))
    pair = MapPair(student_layer=1, teacher_layer=2, student=values, teacher=values)
    text = AttendedText(text="a", student_tokens=tokens, teacher_tokens=tokens, pairs=(pair,))
    return text, pair


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
def test_texts_stay_texts_without_a_warning(tokens: tuple[str, ...]) -> None:
    """Catches matplotlib's warning of each glyph that its own font lacks (warnings are errors
    here), and texts that become outlines or squares."""
    text, pair = attended(tokens)
    svg = draw_attention_maps(text, pair, "kd-3").decode()
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert tokens[1][:1] in {one[:1] for one in texts}
    confusion = draw_confusion(np.eye(len(tokens), dtype=np.int64), tokens, "kd-3").decode()
    assert tokens[1] in confusion


@pytest.mark.parametrize("tokens", TOKENS.values(), ids=TOKENS)
def test_names_have_room(tokens: tuple[str, ...]) -> None:
    """Catches names that are cut at the edge, without an ellipsis: 'olombia'."""
    figure = build_attention_maps(*attended(tokens))
    n_names = 0
    for axes in figure.axes:
        for name in axes.texts:
            place = axes.transData.transform(name.get_position())
            room = place[1] if name.get_rotation() else place[0]
            if not name.get_rotation() and axes is not figure.axes[0]:
                room -= figure.axes[0].bbox.x1
            width = width_of(name.get_text(), float(name.get_fontsize())) * figure.dpi / 72
            assert width <= room, name.get_text()
            n_names += 1
    assert n_names == 4 * len(tokens)
    figure = build_confusion(np.eye(len(tokens), dtype=np.int64), tokens, "#2f74d0")
    (axes,) = figure.axes
    widest = max(width_of(one.get_text(), 10) for one in axes.get_yticklabels())
    assert widest * figure.dpi / 72 < axes.bbox.x0


def test_a_cut_name_says_so() -> None:
    """Catches a name without its ellipsis, and one that is cut without need."""
    assert shorten_to("Colombia", 56, 9) == "Colombia"
    assert shorten_to("commentators", 56, 9).endswith("…")
    assert width_of(shorten_to("中" * 20, 56, 9), 9) <= 56
    assert len(shorten_to("中" * 20, 56, 9)) < len(shorten_to("a" * 20, 56, 9))


def predictions(low: float, high: float) -> Predictions:
    numbers: Any = np.linspace(low, high, 20)[:, None]
    return Predictions("regression", numbers[:, 0], numbers, numbers, pa.table({}))


@pytest.mark.parametrize(
    ("low", "high"),
    [(2.179, 2.6491), (-1, 5), (0.001, 0.0015), (1e4, 2e4), (1e4, 2e6), (1e-7, 3e-7), (3, 3)],
)
def test_ticks_are_round_and_alike(low: float, high: float) -> None:
    """Catches '2.2' beside '2.18', equal ticks, and the last one cut at the right edge."""
    figure = build_numbers(predictions(low, high))
    (axes,) = figure.axes
    names = [one.get_text() for one in axes.get_xticklabels()]
    assert 2 <= len(names) <= 7
    assert all(one != other for one, other in pairwise(names))
    if high < 1e6 and high - low > 1e-3:
        assert len({len(name.partition(".")[2]) for name in names}) == 1
    places = axes.transData.transform([(place, 0) for place in axes.get_xticks()])[:, 0]
    half = width_of(names[-1], 10) / 2 * figure.dpi / 72
    assert places[-1] + half <= figure.bbox.x1
    values = [float(name.replace(",", "")) for name in names]
    middle = (low + high) / 2 if low == high else low
    span = max(high - low, 1.0) if low == high else high - low
    expected = [(value - (middle - 0.5 * (low == high))) / span * 40 - 0.5 for value in values]
    assert axes.get_xticks().tolist() == pytest.approx(expected, abs=0.02)
