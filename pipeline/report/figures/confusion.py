"""Which labels a model takes for which."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pipeline.report.figures.style import (
    DOTS_PER_INCH,
    FONT_SIZE,
    STUDENT_COLOUR,
    TEACHER_COLOUR,
    draw_heat,
    shorten,
    to_svg,
    width_of,
)

_MOST_NUMBERED = 12
"""Labels up to which every cell has its number, and every axis all names."""
_LONGEST_NAME = 14

Counts = Int[np.ndarray, "expected found"]


def how_to_read(things: str, *, is_labelled: bool) -> str:
    """Return what the figure shows of rows, words or whatever predictions are about."""
    shown = (
        "One row for each true label, one column for each label that the model puts first: the "
        "diagonal is right, everything off it a mistake of the row's label for the column's."
        if is_labelled
        else "Nothing has a label, so what the teacher puts first stands for it: one row for each "
        "of the teacher's labels, one column for each of the student's."
    )
    return (
        f"{shown} Numbers are {things} of the data; the fuller the colour, the larger the share "
        "of its row."
    )


def count_confusions(
    expected: NDArray[np.integer[Any]], found: NDArray[np.integer[Any]], n_labels: int
) -> Counts:
    """Return how many predictions of each expected label were given each label."""
    cells = np.ravel_multi_index((expected, found), (n_labels, n_labels))
    return np.bincount(cells, minlength=n_labels**2).reshape(n_labels, n_labels)


def draw_confusion(
    counts: Counts, labels: Sequence[str], name: str, *, is_teacher: bool = False
) -> bytes:
    """Return one model's matrix as an SVG document in UTF-8."""
    colour = TEACHER_COLOUR if is_teacher else STUDENT_COLOUR
    return to_svg(lambda: build_confusion(counts, labels, colour), f"confusion of {name}")


def build_confusion(counts: Counts, labels: Sequence[str], colour: str) -> Figure:
    """Return the figure as matplotlib holds it."""
    names = [shorten(label, _LONGEST_NAME) for label in labels]
    widest = max(width_of(name, FONT_SIZE) for name in names)
    margin = 0.5 + widest / DOTS_PER_INCH  # inches, for the names
    side = 3.6
    width = margin + side + 0.1
    figure = Figure(figsize=(width, width))
    axes = figure.add_axes((margin / width, margin / width, side / width, side / width))
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    draw_heat(axes, shares, colour)
    if len(labels) <= _MOST_NUMBERED:
        for row, column in np.argwhere(counts):
            axes.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", fontsize=9)
    places = range(0, len(labels), -(-len(labels) // (2 * _MOST_NUMBERED)))
    axes.set_xticks(places, [names[place] for place in places], rotation=90)
    axes.set_yticks(places, [names[place] for place in places])
    axes.set_xlabel("put first")
    axes.set_ylabel("true label")
    return figure
