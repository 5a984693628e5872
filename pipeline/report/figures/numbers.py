"""A student's numbers against its teacher's: the figure of a regression."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from pipeline.report.evidence import Predictions
from pipeline.report.figures.style import INK, draw_heat, to_svg

HOW_TO_READ = (
    "Rows by the teacher's number (across) and the student's (up): the fuller the colour, the more "
    "rows, on a logarithmic scale. On the line the two are equal."
)

N_BINS = 40


def draw_numbers(predictions: Predictions, name: str) -> bytes:
    """Return the figure of one student as an SVG document in UTF-8."""
    return to_svg(lambda: build_numbers(predictions), f"numbers of {name}")


def build_numbers(predictions: Predictions) -> Figure:
    """Return the figure as matplotlib holds it."""
    theirs, ours = predictions.teacher[:, 0], predictions.student[:, 0]
    low, high = float(min(theirs.min(), ours.min())), float(max(theirs.max(), ours.max()))
    if low == high:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, N_BINS + 1)
    counts, _, _ = np.histogram2d(ours, theirs, (edges, edges))
    figure = Figure(figsize=(4.0, 4.0))
    axes = figure.add_axes((0.17, 0.13, 0.76, 0.76))
    draw_heat(axes, np.log1p(counts) / np.log1p(counts.max()))
    axes.invert_yaxis()
    axes.plot([-0.5, N_BINS - 0.5], [-0.5, N_BINS - 0.5], color=INK, alpha=0.3, linewidth=1)
    values, names = _ticks(low, high)
    places = (values - low) / (high - low) * N_BINS - 0.5
    axes.set_xticks(places, names)
    axes.set_yticks(places, names)
    axes.set_xlabel("teacher")
    axes.set_ylabel("student")
    return figure


def _ticks(low: float, high: float) -> tuple[NDArray[np.float64], list[str]]:
    """Return round numbers within these bounds, and how they are written, all to one digit."""
    locator = MaxNLocator(5, steps=[1, 2, 2.5, 5, 10])
    values = np.asarray(locator.tick_values(low, high), dtype=np.float64)
    values = values[(low <= values) & (values <= high)]
    largest, step = np.abs(values).max(initial=0.0), (high - low) / 4
    if largest >= 1e6 or step < 1e-4:
        return values, [f"{value:z.4g}" for value in values]
    n_digits = next(
        digits for digits in range(8) if np.allclose(values, values.round(digits), 0, step / 100)
    )
    return values, [f"{value:z,.{n_digits}f}" for value in values]
