"""One text as teacher and student attend to it, side by side."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pipeline.evaluate.shown_parts import AttendedText, MapPair
from pipeline.report.figures.style import (
    DOTS_PER_INCH,
    STUDENT_COLOUR,
    TEACHER_COLOUR,
    draw_heat,
    shorten_to,
    to_svg,
)

HOW_TO_READ = (
    "Each line of a map is one token, and shows which tokens (columns) it attends to, averaged "
    "over the heads; a line sums to 1, and colours are stretched, as most probabilities are "
    "small. Left the teacher, right the student, with tokens of its own if its tokenizer is "
    "another; the layers stand at about the same share of their model's depth."
)

_NAME_SIZE = 9
_NAME_WIDTH = 56
"""Points that the name of a token may take beside a map, or below it: about ten letters."""
_GAP = 3
"""Points between a name and its map."""
_STRETCH = 0.5
"""Power of a probability that is its colour."""


def draw_attention_maps(text: AttendedText, pair: MapPair, name: str) -> bytes:
    """Return the two maps as an SVG document in UTF-8."""
    salt = f"attention of {name}, layer {pair.student_layer}, {text.text}"
    return to_svg(lambda: build_attention_maps(text, pair), salt)


def build_attention_maps(text: AttendedText, pair: MapPair) -> Figure:
    """Return the figure as matplotlib holds it."""
    side, above, margin = 1.8, 0.22, (_NAME_WIDTH + _GAP + 3) / DOTS_PER_INCH  # inches
    width, height = 2 * (margin + side) + 0.06, above + side + margin
    figure = Figure(figsize=(width, height))
    sides = (
        ("teacher", pair.teacher_layer, pair.teacher, text.teacher_tokens, TEACHER_COLOUR),
        ("student", pair.student_layer, pair.student, text.student_tokens, STUDENT_COLOUR),
    )
    for number, (who, layer, values, tokens, colour) in enumerate(sides):
        left = margin + number * width / 2
        bottom = margin
        axes = figure.add_axes((left / width, bottom / height, side / width, side / height))
        draw_heat(axes, np.array(values) ** _STRETCH, colour)
        axes.set_title(f"{who}, layer {layer}", fontsize=10, pad=4)
        _name_tokens(axes, tokens, side)
    return figure


def _name_tokens(axes: Axes, tokens: Sequence[str], side: float) -> None:
    every = int(-(-len(tokens) * _NAME_SIZE * 1.1 // (DOTS_PER_INCH * side)))
    axes.set_xticks([])  # ticks with their labels take ten times as long to draw
    axes.set_yticks([])
    gap = _GAP / (DOTS_PER_INCH * side) * len(tokens)
    for place in range(0, len(tokens), max(every, 1)):
        name = shorten_to(tokens[place], _NAME_WIDTH, _NAME_SIZE)
        below = len(tokens) - 0.5 + gap
        axes.text(-0.5 - gap, place, name, ha="right", va="center", fontsize=_NAME_SIZE)
        axes.text(place, below, name, ha="center", va="top", rotation=90, fontsize=_NAME_SIZE)
