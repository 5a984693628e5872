"""Matrices as heat: confusions, like layers, numbers beside numbers, and attention maps."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

from pipeline.evaluate.shown_parts import Similarity
from pipeline.report.evidence import Predictions
from pipeline.report.figures.svg import (
    FONT_SIZE,
    STUDENT_COLOUR,
    Figure,
    Plot,
    Scale,
    round_ticks,
    shorten,
    text_width,
)

N_BINS = 40

_MOST_NUMBERED = 12
"""Rows and columns up to which every cell has its number, and every axis all names."""
_LONGEST_NAME = 110.0
"""Points that the name of a label may take."""
_GAP = 4.0

Counts = Int[np.ndarray, "expected found"]


def count_confusions(
    expected: NDArray[np.integer[Any]], found: NDArray[np.integer[Any]], n_labels: int
) -> Counts:
    """Return how many predictions of each expected label were given each label."""
    cells = np.ravel_multi_index((expected, found), (n_labels, n_labels))
    return np.bincount(cells, minlength=n_labels**2).reshape(n_labels, n_labels)


def draw_confusion(counts: Counts, labels: Sequence[str], colour: str) -> Figure:
    """Draw one model's matrix."""
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    names = [shorten(label, _LONGEST_NAME) for label in labels]
    margin = 22 + _GAP + max(map(text_width, names))
    matrix = _Matrix(Figure(margin + 266, margin + 266), margin, 4, 260, 260)
    matrix.draw(shares, colour)
    if len(labels) <= _MOST_NUMBERED:
        for row, column in np.argwhere(counts).tolist():
            matrix.write_in(row, column, f"{counts[row, column]:,}", counts.shape)
    every = -(-len(labels) // (2 * _MOST_NUMBERED))
    matrix.name_rows(names, every)
    matrix.name_columns(names, every, are_upright=True)
    matrix.name_axes("true label", "put first", margin)
    return matrix.figure


def draw_layers(similarity: Similarity) -> Figure:
    """Draw how like each layer of a student is to each of its teacher, the last layer on top."""
    values = np.array(similarity.cka, dtype=np.float64)[::-1]  # None becomes nan
    n_rows, n_columns = values.shape
    cell = min(40.0, 320.0 / max(n_rows, n_columns))
    width, height = cell * n_columns, cell * n_rows
    matrix = _Matrix(Figure(46 + width, height + 42), 40, 4, width, height)
    matrix.draw(values, STUDENT_COLOUR)
    if max(n_rows, n_columns) <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            name = "–" if math.isnan(value) else f"{value:.2f}"
            matrix.write_in(row, column, name, values.shape)
    matrix.name_rows([str(layer) for layer in reversed(similarity.student_layers)] or [""])
    matrix.name_columns([str(layer) for layer in similarity.teacher_layers])
    name = "student layer" if similarity.student_layers else "student"
    matrix.name_axes(name, "teacher layer", 38)
    return matrix.figure


def draw_numbers(predictions: Predictions) -> Figure:
    """Draw a student's numbers upwards against its teacher's across."""
    theirs, ours = predictions.teacher[:, 0], predictions.student[:, 0]
    low, high = float(min(theirs.min(), ours.min())), float(max(theirs.max(), ours.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, N_BINS + 1)
    counts, _, _ = np.histogram2d(ours, theirs, (edges, edges))
    figure = Figure(300, 272)
    figure.heat(
        (60, 8), (220, 220), (np.log1p(counts) / np.log1p(counts.max()))[::-1], STUDENT_COLOUR
    )
    plot = Plot(figure, 60, 280, 8, 228, Scale(low, high), Scale(low, high))
    figure.line(plot.points([(low, low), (high, high)]), opacity=0.3)
    ticks = round_ticks(low, high, 5)
    plot.axis_below(ticks, "teacher", has_grid=False)
    plot.axis_left(ticks, "student", has_grid=False)
    return figure


@dataclass(frozen=True)
class AttentionMap:
    """The map of one layer, of one head or averaged over heads."""

    title: str
    values: Float[np.ndarray, "query key"]
    """Probabilities; a row sums to 1."""
    tokens: Sequence[str]
    colour: str


def draw_attention_maps(maps: Sequence[AttentionMap], title: str = "") -> Figure:
    """Draw maps of one row side by side, two or three to a line.

    Colours are stretched by a square root, as most probabilities are small. Without a title
    the fullest colour is a probability of 1; with one it is the largest of all, which is noted.
    """
    largest = max(float(one.values.max()) for one in maps) if title else 1.0
    n_columns = min(len(maps), 3 if title else 2)
    side = min(max(130.0, 11.5 * len(maps[0].tokens)), 460.0) if title else 130.0
    size, margin, above = FONT_SIZE - 1, 60.0, 18.0
    width, height, head = margin + side + 4, above + side + margin, 40.0 if title else 0.0
    note = f"rows: query, columns: key; fullest colour: {largest:.3g}" if title else ""
    widest = max(n_columns * width, 12 + text_width(title), 12 + text_width(note, size))
    figure = Figure(widest, head + -(-len(maps) // n_columns) * height)
    figure.text((6, 12), title, "start")
    figure.text((6, 28), note, "start", size)
    for number, one in enumerate(maps):
        left = number % n_columns * width + margin
        top = head + number // n_columns * height + above
        matrix = _Matrix(figure, left, top, side, side)
        matrix.draw(np.sqrt(one.values / largest), one.colour)
        figure.text((left + side / 2, top - 9), one.title)
        names = [shorten(token, margin - _GAP - 1, size) for token in one.tokens]
        every = max(math.ceil(len(names) * size * 1.1 / side), 1)
        matrix.name_rows(names, every, size)
        matrix.name_columns(names, every, size, are_upright=True)
    return figure


@dataclass(frozen=True)
class _Matrix:
    """A part of a figure with rows and columns of equal cells."""

    figure: Figure
    left: float
    top: float
    width: float
    height: float

    def draw(self, values: Float[np.ndarray, "row column"], colour: str) -> None:
        self.figure.heat((self.left, self.top), (self.width, self.height), values, colour)

    def write_in(self, row: int, column: int, text: str, shape: tuple[int, ...]) -> None:
        place = (column + 0.5) / shape[1], (row + 0.5) / shape[0]
        middle = self.left + place[0] * self.width, self.top + place[1] * self.height
        self.figure.text(middle, text, size=8)

    def name_rows(self, names: Sequence[str], every: int = 1, size: float = FONT_SIZE) -> None:
        for number in range(0, len(names), every):
            y = self.top + (number + 0.5) / len(names) * self.height
            self.figure.text((self.left - _GAP, y), names[number], "end", size)

    def name_columns(
        self,
        names: Sequence[str],
        every: int = 1,
        size: float = FONT_SIZE,
        *,
        are_upright: bool = False,
    ) -> None:
        y = self.top + self.height + (_GAP if are_upright else 0.8 * size)
        anchor = "end" if are_upright else "middle"
        for number in range(0, len(names), every):
            x = self.left + (number + 0.5) / len(names) * self.width
            self.figure.text((x, y), names[number], anchor, size, is_upright=are_upright)

    def name_axes(self, rows: str, columns: str, margin: float) -> None:
        """Write what rows and columns are at the outer edge of a margin for their names."""
        middle = self.top + self.height / 2
        self.figure.text((self.left - margin + 8, middle), rows, is_upright=True)
        below = self.top + self.height + margin - 8
        self.figure.text((self.left + self.width / 2, below), columns)
