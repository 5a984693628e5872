"""Which layers of student and teacher have like [CLS] states: CKA as a heat map."""

import numpy as np
from matplotlib.figure import Figure

from pipeline.evaluate.shown_parts import Similarity
from pipeline.report.figures.style import draw_heat, to_svg

HOW_TO_READ = (
    "Linear CKA between the [CLS] states of each student layer and each teacher layer, over the "
    "same rows: 1 where they are equal up to rotation and scale, around 0 where they have nothing "
    "to do with each other. A student that is no Transformer has one state, which its head reads. "
    "The fullest cell of a row is the teacher layer that this layer of the student is most like. A "
    "dash stands where all rows have the same state."
)

_MOST_NUMBERED = 12


def draw_layers(similarity: Similarity, name: str) -> bytes:
    """Return the figure of one student as an SVG document in UTF-8."""
    return to_svg(lambda: build_layers(similarity), f"layers of {name}")


def build_layers(similarity: Similarity) -> Figure:
    """Return the figure as matplotlib holds it."""
    values = np.array(similarity.cka, dtype=np.float64)  # None becomes nan
    n_rows, n_columns = values.shape
    cell = min(0.55, 4.4 / max(n_rows, n_columns))
    left, bottom, above = 0.75, 0.6, 0.1  # inches
    width, height = left + cell * n_columns + 0.1, bottom + cell * n_rows + above
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes(
        (left / width, bottom / height, cell * n_columns / width, cell * n_rows / height)
    )
    draw_heat(axes, values)
    axes.invert_yaxis()
    if max(n_rows, n_columns) <= _MOST_NUMBERED:
        for (row, column), value in np.ndenumerate(values):
            text = "–" if np.isnan(value) else f"{value:.2f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8)
    axes.set_xticks(range(n_columns), [str(layer) for layer in similarity.teacher_layers])
    axes.set_yticks(range(n_rows), [str(layer) for layer in similarity.student_layers] or [""])
    axes.set_xlabel("teacher layer")
    axes.set_ylabel("student layer" if similarity.student_layers else "student")
    return figure
