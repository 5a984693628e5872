"""The figure of the report: quality against latency, one labelled point a model.

The bytes depend on the comparison and on matplotlib's version alone: no date, no random
identifiers, no settings of the user's. Text stays text, and is never read as markup.
"""

import io
from dataclasses import dataclass

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from pipeline.evaluate.comparison import Comparison
from pipeline.evaluate.figure_labels import place_labels

INK = "#1f2328"
"""Text and axes. The page replaces it, so that the figure follows a dark theme."""

SURFACE = "#ffffff"
"""Background; replaced likewise."""

STUDENT_COLOUR = "#2f74d0"
TEACHER_COLOUR = "#c4590c"
"""Each has a contrast of at least 3 to 1 against the light and the dark background."""

TEACHER_NAME = "teacher"

_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "quality against latency",
    "font.family": ["sans-serif"],
    "font.size": 10.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": SURFACE,
    "figure.facecolor": SURFACE,
    "savefig.facecolor": SURFACE,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


@dataclass(frozen=True)
class Point:
    """One model in the figure."""

    name: str

    latency_ms: float

    percent: float
    """Accuracy, or without labels the agreement with the teacher."""

    is_teacher: bool


def draw_quality_against_latency(comparison: Comparison) -> bytes:
    """Return the figure as an SVG document in UTF-8."""
    with matplotlib.style.context(["default", _STYLE]):
        output = io.BytesIO()
        build_figure(comparison).savefig(output, format="svg", metadata=_NO_METADATA)
    return output.getvalue()


def build_figure(comparison: Comparison) -> Figure:
    """Return the figure as matplotlib holds it."""
    figure = Figure(figsize=(7.2, 4.4), dpi=72)
    figure.subplots_adjust(left=0.1, right=0.97, bottom=0.13, top=0.97)
    axes = figure.add_subplot()
    points = _points(comparison)
    teacher_percent = 100 * comparison.teacher_score
    _scale_axes(axes, points, teacher_percent)
    axes.set_xlabel("latency of one example, ms (logarithmic)")
    measure = "accuracy" if comparison.labelled_split_names else "agreement with the teacher"
    axes.set_ylabel(f"{measure}, % ({comparison.compared_on})")
    axes.axhline(teacher_percent, color=TEACHER_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
    for point in points:
        axes.plot(
            point.latency_ms,
            point.percent,
            marker="D" if point.is_teacher else "o",
            markersize=8,
            color=TEACHER_COLOUR if point.is_teacher else STUDENT_COLOUR,
            markeredgecolor=SURFACE,
            linestyle="none",
        )
    names = [(point.name, point.latency_ms, point.percent) for point in points]
    if comparison.teacher_cost is None:  # then only the line shows the teacher
        names.append((TEACHER_NAME, axes.get_xlim()[0], teacher_percent))
    place_labels(axes, names, line_y=teacher_percent)
    return figure


def _points(comparison: Comparison) -> list[Point]:
    points = [
        Point(one.student, one.cost.student.latency_ms, 100 * comparison.score(one), False)
        for one in comparison.students
    ]
    if comparison.teacher_cost is not None:
        latency_ms = comparison.teacher_cost.latency_ms
        points.append(Point(TEACHER_NAME, latency_ms, 100 * comparison.teacher_score, True))
    return points


def _scale_axes(axes: Axes, points: list[Point], teacher_percent: float) -> None:
    """Fix both axes with room for the labels, before these are placed by them."""
    latencies = [point.latency_ms for point in points]
    low, high = min(latencies) / 1.7, max(latencies) * 1.7
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    within_decades = (1.0, 2.0, 5.0) if high > 15 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    axes.xaxis.set_major_locator(LogLocator(subs=within_decades, numticks=50))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    percents = [teacher_percent, *(point.percent for point in points)]
    margin = max(0.15 * (max(percents) - min(percents)), 0.5)
    axes.set_ylim(min(percents) - margin, max(percents) + margin)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
