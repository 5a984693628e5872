"""How a student learnt, how sure it is, and its quality against its cost: lines, bars, points."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from pipeline.evaluate.cost_figures import Cost
from pipeline.metrics import Metric
from pipeline.metrics.measure import PERCENT, Measure
from pipeline.report.comparison import Comparison
from pipeline.report.evidence import Curve, Predictions
from pipeline.report.figures.svg import (
    COLOURS,
    FONT_SIZE,
    INK,
    STUDENT_COLOUR,
    TEACHER_COLOUR,
    Entry,
    Figure,
    Plot,
    Point,
    Scale,
    log_ticks,
    round_ticks,
    text_width,
)

TEACHER_NAME = "teacher"
N_BINS = 20

_TOTAL = "train/loss"
_NOT_A_LOSS = ("train/learning_rate",)
_MOST_POINTS = 120
"""More cannot be told apart in the figure; neighbours are averaged."""
_NO_CURVE = Curve(np.empty(0, np.int64), np.empty(0))
_FAR = 30
"""A score without a bound that changes so many times over, such as a perplexity, has a
logarithmic axis."""


def draw_learning_curves(
    curves: Mapping[str, Curve], metric: Metric, teacher_score: float | None
) -> Figure:
    """Draw each term of a loss and the score on validation by step; there must be a curve.

    `teacher_score` is the teacher's on validation.
    """
    figure = Figure(346, 316)
    losses = {
        name.removeprefix("train/"): thin_out(_finite(curve))
        for name, curve in curves.items()
        if name.startswith("train/") and name not in _NOT_A_LOSS
    }
    total = losses.pop("loss", None)
    lines = [
        (name, curve, Entry(name, COLOURS[number % len(COLOURS)], is_dashed=number >= len(COLOURS)))
        for number, (name, curve) in enumerate(losses.items())
    ]
    if total is not None and len(losses) != 1:  # of a single term it is that term again
        lines.insert(0, ("loss", total, Entry("loss (sum)", INK, width=0.8)))
    top = figure.legend(57, 336, 0, [entry for _, _, entry in lines]) + 4
    score = _finite(curves.get(f"validation/{metric.name}", _NO_CURVE))
    steps = [step for curve in curves.values() for step in curve.steps.tolist()]
    x = Scale(min(steps), max(max(steps), min(steps) + 1))
    step_ticks = [tick for tick in round_ticks(x.low, x.high, 6) if tick[0] == int(tick[0])]

    values = [value for _, curve, _ in lines for value in curve.values.tolist()]
    y, ticks = _scale(values, is_log=min(values, default=0) > 0)
    plot = Plot(figure, 57, 336, top, 186, x, y)
    plot.axis_left(ticks, "loss")
    plot.axis_below([(value, "") for value, _ in step_ticks])
    for _, curve, entry in lines:
        points = plot.points(zip(curve.steps.tolist(), curve.values.tolist(), strict=True))
        figure.line(points, entry.colour, entry.width, is_dashed=entry.is_dashed)

    found = (metric.unit.factor * score.values).tolist()
    level = [] if teacher_score is None else [metric.unit.factor * teacher_score]
    is_log = metric.highest is None and bool(found) and max(found) > _FAR * min(found) > 0
    y, ticks = _scale([*found, *level], is_log=is_log)
    plot = Plot(figure, 57, 336, 200, 284, x, y)
    unit = f", {metric.unit.name}" if metric.unit == PERCENT else ""
    plot.axis_left(ticks, f"{metric.heading}{unit}")
    plot.axis_below(step_ticks, "step")
    if level:
        plot.level(level[0], TEACHER_COLOUR)
    points = plot.points(zip(score.steps.tolist(), found, strict=True))
    figure.line(points, COLOURS[0], 1.6)
    for point in points:
        figure.dot(point, 3, COLOURS[0])
    return figure


def _finite(curve: Curve) -> Curve:
    """Return the points that have a place: an early perplexity may be too large for a number."""
    kept = np.isfinite(curve.values)
    return Curve(curve.steps[kept], curve.values[kept])


def _scale(values: Sequence[float], *, is_log: bool) -> tuple[Scale, list[tuple[float, str]]]:
    """Return an axis with a little room around these values, and its ticks."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    if is_log:
        room = max(high / low, 1.1) ** 0.05
        scale = Scale(low / room, high * room, math.log)
        return scale, log_ticks(scale.low, scale.high)
    room = 0.06 * (high - low) or 0.06 * abs(high) or 1.0
    scale = Scale(low - room, high + room)
    return scale, round_ticks(scale.low, scale.high, 4)


def thin_out(curve: Curve) -> Curve:
    """Return the curve with at most 120 points, each the mean of its neighbours."""
    n_points = len(curve.steps)
    if n_points <= _MOST_POINTS:
        return curve
    parts = np.array_split(np.arange(n_points), _MOST_POINTS)
    return Curve(
        steps=np.array([curve.steps[part[-1]] for part in parts]),
        values=np.array([curve.values[part].mean() for part in parts]),
    )


def draw_confidence(predictions: Predictions, things: str, same: str) -> Figure:
    """Draw how sure both models are of `things`, and how far apart their answers are.

    `same` says what it is that both put first where they agree.
    """
    figure = Figure(360, 202)
    ours, theirs = map(_histogram, predictions.confidences)
    distances = np.abs(predictions.student - predictions.teacher).sum(1) / 2
    agrees = predictions.agrees
    alike, other = _histogram(distances[agrees]), _histogram(distances[~agrees])
    counts = Scale(0, 2 * max(*ours, *theirs, *alike, *other, 1), math.log1p)
    halves = (
        (56, 197, "confidence", (("student", ours), (TEACHER_NAME, theirs))),
        (213, 354, "distance", ((same, alike), ("another", other))),
    )
    ticks = [(0.0, "0"), *((10.0**n, f"{10**n:,}") for n in range(9) if 10**n < counts.high)]
    for left, right, label, ((first, filled), (second, outlined)) in halves:
        entries = Entry(first, STUDENT_COLOUR, is_area=True), Entry(second, TEACHER_COLOUR)
        top = figure.legend(left, right + 10, 0, entries) + 4
        plot = Plot(figure, left, right, top, 170, Scale(0, 1), counts)
        if left == 56:
            plot.axis_left(ticks, things)
        else:
            plot.axis_left([(value, "") for value, _ in ticks])
        plot.stairs(filled, STUDENT_COLOUR, is_filled=True)
        plot.stairs(outlined, TEACHER_COLOUR, is_filled=False)
        quarters = [(n / 4, f"{n / 4:g}") for n in range(5)]
        plot.axis_below(quarters, label, has_grid=False)
    return figure


def _histogram(values: np.ndarray[Any, Any]) -> list[float]:
    counts, _ = np.histogram(values.clip(0, 1), np.linspace(0, 1, N_BINS + 1))
    return [float(count) for count in counts]


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
class Model:
    """One model in the figure."""

    name: str
    cost: float
    score: float
    """In the measure's unit."""
    is_teacher: bool


def draw_pareto(comparison: Comparison, axis: CostAxis) -> Figure:
    """Draw a named point for each model, and the line of the best."""
    measure, factor = comparison.measure, comparison.measure.unit.factor
    level = factor * comparison.teacher_score
    models = [
        Model(one.student, axis.value(one.cost.student), factor * comparison.score(one), False)
        for one in comparison.students
    ]
    if comparison.teacher_cost is not None:
        models.append(Model(TEACHER_NAME, axis.value(comparison.teacher_cost), level, True))
    costs, scores = [one.cost for one in models], [level, *(one.score for one in models)]
    margin = max(0.15 * (max(scores) - min(scores)), 0.5)
    x = Scale(min(costs) / 1.7, max(costs) * 1.7, math.log)
    y = Scale(min(scores) - margin, max(scores) + margin)
    figure = Figure(389, 298)
    plot = Plot(figure, 48, 382, 8, 262, x, y)
    of_whom = "" if comparison.labelled_split_names else " with the teacher"
    unit = measure.unit.name if measure.greater_is_better else "lower is better"
    plot.axis_below(log_ticks(x.low, x.high), axis.label)
    plot.axis_left(
        round_ticks(y.low, y.high, 8),
        f"{measure.heading}{of_whom}, {unit} ({comparison.compared_on})",
    )
    plot.level(level, TEACHER_COLOUR)
    front = plot.points((one.cost, one.score) for one in pareto_front(models, measure))
    figure.line(front, width=1.5, opacity=0.3)
    names = [(one.name, plot.at(one.cost, one.score)) for one in models]
    for one, (_, place) in zip(models, names, strict=True):
        colour = TEACHER_COLOUR if one.is_teacher else STUDENT_COLOUR
        figure.dot(place, 4.5, colour, is_diamond=one.is_teacher)
    if comparison.teacher_cost is None:  # then only the line shows the teacher
        names.append((TEACHER_NAME, plot.at(x.low, level)))
    _, height = plot.at(x.low, level)
    taken = [_around((x, y), 6, 6) for _, (x, y) in names]
    taken.append((plot.left, height - 1.5, plot.right, height + 1.5))
    taken += _along(front)
    inside = (plot.left, plot.top, plot.right, plot.bottom)
    for (name, point), box in zip(names, place_names(names, taken, inside), strict=True):
        end = min(max(point[0], box[0]), box[2]), min(max(point[1], box[1]), box[3])
        if math.dist(point, end) > _RADII[0] + 1:
            figure.line([point, end], width=0.6)
        figure.text(((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), name)
    return figure


def pareto_front(models: Sequence[Model], measure: Measure[Any]) -> list[Model]:
    """Return the models than which no other is both cheaper and better, the cheapest first."""
    front: list[Model] = []
    for one in sorted(models, key=lambda one: (one.cost, measure.loss(one.score, 0.0))):
        if not front or measure.is_better(one.score, front[-1].score):
            front.append(one)
    return front


Box = tuple[float, float, float, float]
"""Left, top, right and bottom."""

_RADII = (8.0, 18.0, 30.0, 44.0)
"""Distances of a name from its point; the nearest free place is taken."""
_DIRECTIONS = ((1, 0), (-1, 0), (0, -1), (0, 1), (1, -1), (-1, -1), (-1, 1), (1, 1))
_N_STEPS = 24
"""Boxes that stand for one straight piece of a line."""


def place_names(names: Sequence[tuple[str, Point]], taken: Sequence[Box], inside: Box) -> list[Box]:
    """Return a box for each named point, beside it and off other names and what is taken.

    A name that finds no free place goes where it covers least.
    """
    boxes: list[Box] = []
    for name, (x, y) in names:
        half, height = text_width(name) / 2, 0.6 * FONT_SIZE
        places = []
        for radius in _RADII:
            for right, down in _DIRECTIONS:
                away = radius * (math.sqrt(0.5) if right and down else 1)
                middle = x + right * (away + half), y + down * (away + height)
                places.append(_around(middle, half, height))
        others = [*taken, *boxes]
        boxes.append(min(places, key=lambda box: _covered(box, others, inside)))
    return boxes


def _along(corners: Sequence[Point]) -> list[Box]:
    """Return small boxes that cover a line of straight pieces."""
    return [
        _around((x, y), 1.5, 1.5)
        for begin, end in pairwise(corners)
        for x, y in np.linspace(begin, end, _N_STEPS).tolist()
    ]


def _around(middle: Point, half_width: float, half_height: float) -> Box:
    (x, y) = middle
    return x - half_width, y - half_height, x + half_width, y + half_height


def _covered(box: Box, others: Sequence[Box], inside: Box) -> float:
    """Return how much of a box lies on others, and twice how much lies outside."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    return sum(_shared(box, other) for other in others) + 2 * (area - _shared(box, inside))


def _shared(one: Box, other: Box) -> float:
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0.0) * max(height, 0.0)
