"""Quality against what it costs: one labelled point a model, and the line of the best."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from pipeline.evaluate.cost_figures import Cost
from pipeline.metrics.measure import Measure
from pipeline.report.comparison import Comparison
from pipeline.report.figures.point_labels import place_labels
from pipeline.report.figures.style import (
    DOTS_PER_INCH,
    INK,
    STUDENT_COLOUR,
    SURFACE,
    TEACHER_COLOUR,
    to_svg,
)

TEACHER_NAME = "teacher"


@dataclass(frozen=True)
class CostAxis:
    """A cost that quality is shown against."""

    name: str
    label: str
    value: Callable[[Cost], float]


LATENCY = CostAxis(
    "latency", "latency of one example, ms (logarithmic)", lambda cost: cost.latency_ms
)
SIZE = CostAxis("size", "parameters, millions (logarithmic)", lambda cost: cost.n_parameters / 1e6)


@dataclass(frozen=True)
class Point:
    """One model in the figure."""

    name: str

    cost: float

    score: float
    """In the measure's unit."""

    is_teacher: bool


def draw_pareto(comparison: Comparison, axis: CostAxis) -> bytes:
    """Return the figure as an SVG document in UTF-8."""
    return to_svg(lambda: build_pareto(comparison, axis), f"quality against {axis.name}")


def build_pareto(comparison: Comparison, axis: CostAxis) -> Figure:
    """Return the figure as matplotlib holds it."""
    figure = Figure(figsize=(5.4, 4.1), dpi=DOTS_PER_INCH)
    figure.subplots_adjust(left=0.12, right=0.98, bottom=0.13, top=0.97)
    axes = figure.add_subplot()
    points = _points(comparison, axis)
    measure = comparison.measure
    teacher_score = measure.unit.factor * comparison.teacher_score
    _scale_axes(axes, points, teacher_score)
    axes.set_xlabel(axis.label)
    of_whom = "" if comparison.labelled_split_names else " with the teacher"
    unit = measure.unit.name if measure.is_larger_better else "lower is better"
    axes.set_ylabel(f"{measure.heading}{of_whom}, {unit} ({comparison.compared_on})")
    axes.axhline(teacher_score, color=TEACHER_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
    best = pareto_front(points, measure)
    axes.plot(
        [point.cost for point in best],
        [point.score for point in best],
        color=INK,
        alpha=0.3,
        linewidth=1.5,
        zorder=1,
    )
    for point in points:
        axes.plot(
            point.cost,
            point.score,
            marker="D" if point.is_teacher else "o",
            markersize=8,
            color=TEACHER_COLOUR if point.is_teacher else STUDENT_COLOUR,
            markeredgecolor=SURFACE,
            linestyle="none",
        )
    names = [(point.name, point.cost, point.score) for point in points]
    if comparison.teacher_cost is None:  # then only the line shows the teacher
        names.append((TEACHER_NAME, axes.get_xlim()[0], teacher_score))
    place_labels(axes, names, line_y=teacher_score, path=[(one.cost, one.score) for one in best])
    return figure


def pareto_front(points: Sequence[Point], measure: Measure[Any]) -> list[Point]:
    """Return the models than which no other is both cheaper and better, the cheapest first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda one: (one.cost, measure.loss(one.score, 0.0))):
        if not front or measure.is_better(point.score, front[-1].score):
            front.append(point)
    return front


def _points(comparison: Comparison, axis: CostAxis) -> list[Point]:
    factor = comparison.measure.unit.factor
    points = [
        Point(one.student, axis.value(one.cost.student), factor * comparison.score(one), False)
        for one in comparison.students
    ]
    if comparison.teacher_cost is not None:
        cost = axis.value(comparison.teacher_cost)
        points.append(Point(TEACHER_NAME, cost, factor * comparison.teacher_score, True))
    return points


def _scale_axes(axes: Axes, points: list[Point], teacher_score: float) -> None:
    """Fix both axes with room for the labels, before these are placed by them."""
    costs = [point.cost for point in points]
    low, high = min(costs) / 1.7, max(costs) * 1.7
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    within_decades = (1.0, 2.0, 5.0) if high > 15 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
    axes.xaxis.set_major_locator(LogLocator(subs=within_decades, numticks=50))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    scores = [teacher_score, *(point.score for point in points)]
    margin = max(0.15 * (max(scores) - min(scores)), 0.5)
    axes.set_ylim(min(scores) - margin, max(scores) + margin)
    axes.grid(color=INK, alpha=0.12, linewidth=0.8)
    axes.set_axisbelow(True)
