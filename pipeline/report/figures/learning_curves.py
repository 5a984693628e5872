"""How one student learnt: each term of its loss, and its score on validation, by step."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from pipeline.metrics import Metric
from pipeline.metrics.measure import PERCENT
from pipeline.report.evidence import Curve
from pipeline.report.figures.style import COLOURS, INK, TEACHER_COLOUR, to_svg

_TOTAL = "train/loss"
_NOT_A_LOSS = ("train/learning_rate",)
_MOST_POINTS = 120
"""More cannot be told apart in the figure; neighbours are averaged."""
_FAR = 30
"""A score without a bound that changes so many times over, such as a perplexity, has a
logarithmic axis."""


def how_to_read(metric: Metric) -> str:
    """Return what the figure shows; `metric` is the one that chose the best weights."""
    return (
        "Above, each term of the loss on the training rows, before its weight, and their weighted "
        "sum (thin line); lower is better, and terms have scales of their own. Below, the "
        f"student's {metric.heading} on validation; the dashed line is the teacher's."
    )


def draw_learning_curves(
    curves: Mapping[str, Curve], metric: Metric, teacher_score: float | None, name: str
) -> bytes:
    """Return the figure of one student as an SVG document in UTF-8; there must be a curve.

    `teacher_score` is the teacher's on validation.
    """
    return to_svg(lambda: build_learning_curves(curves, metric, teacher_score), f"curves of {name}")


def build_learning_curves(
    curves: Mapping[str, Curve], metric: Metric, teacher_score: float | None
) -> Figure:
    """Return the figure as matplotlib holds it."""
    figure = Figure(figsize=(4.8, 4.2))
    losses, scores = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    figure.subplots_adjust(left=0.165, right=0.97, bottom=0.115, top=0.98, hspace=0.1)
    _draw_losses(losses, curves)
    scores.yaxis.set_major_locator(MaxNLocator(4))
    _draw_score(scores, curves.get(f"validation/{metric.name}"), metric, teacher_score)
    scores.set_xlabel("step")
    scores.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    for axes in (losses, scores):
        axes.grid(color=INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
    return figure


def _draw_losses(axes: Axes, curves: Mapping[str, Curve]) -> None:
    terms = {
        name.removeprefix("train/"): thin_out(curve)
        for name, curve in curves.items()
        if name.startswith("train/") and name not in (*_NOT_A_LOSS, _TOTAL)
    }
    shown = list(terms.values())
    if _TOTAL in curves and len(terms) != 1:  # of a single term it is that term again
        total = thin_out(curves[_TOTAL])
        axes.plot(total.steps, total.values, color=INK, linewidth=0.8, label="loss (sum)")
        shown.append(total)
    for number, (name, curve) in enumerate(terms.items()):
        colour = COLOURS[number % len(COLOURS)]
        style = "-" if number < len(COLOURS) else "--"
        axes.plot(curve.steps, curve.values, style, color=colour, linewidth=1.6, label=name)
    if shown and min(curve.values.min() for curve in shown) > 0:
        axes.set_yscale("log")
    axes.set_ylabel("loss")
    if shown:
        # Above the curves, which go down: there the axes are given room for the names.
        axes.legend(loc="upper right", fontsize=9, ncols=2, handlelength=1.4, columnspacing=1.2)
        _make_room_above(axes, n_rows=-(-len(shown) // 2))
    if axes.get_yscale() == "log":
        _mark_decades(axes)


def _mark_decades(axes: Axes) -> None:
    """Mark a logarithmic axis with round numbers."""
    low, high = axes.get_ylim()
    within_decades = (1.0, 2.0, 5.0) if high < 300 * low else (1.0,)
    axes.yaxis.set_major_locator(LogLocator(subs=within_decades, numticks=12))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())


def _make_room_above(axes: Axes, n_rows: int) -> None:
    share = 0.1 + 0.075 * n_rows
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        axes.set_ylim(low, high * (high / low) ** (share / (1 - share)))
    else:
        axes.set_ylim(low, high + (high - low) * share / (1 - share))


def _draw_score(
    axes: Axes, curve: Curve | None, metric: Metric, teacher_score: float | None
) -> None:
    factor = metric.unit.factor
    if curve is not None:
        values = factor * curve.values
        size = 10 if len(values) == 1 else 6  # a single validation has no line that leads to it
        axes.plot(curve.steps, values, ".-", color=COLOURS[0], linewidth=1.6, markersize=size)
    if teacher_score is not None:
        level = factor * teacher_score
        axes.axhline(level, color=TEACHER_COLOUR, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_ylabel(metric.heading + (f", {metric.unit.name}" if metric.unit == PERCENT else ""))
    if curve is None or metric.highest is not None:
        return
    lowest, highest = float(curve.values.min()), float(curve.values.max())
    if lowest > 0 and highest > _FAR * lowest:
        axes.set_yscale("log")
        _mark_decades(axes)


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
