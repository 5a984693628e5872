"""How sure a student is beside its teacher, and how far apart their answers are."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MultipleLocator

from pipeline.report.evidence import Predictions
from pipeline.report.figures.style import INK, STUDENT_COLOUR, TEACHER_COLOUR, to_svg
from pipeline.report.things import things_of

N_BINS = 20


def how_to_read(things: str) -> str:
    """Return what the figure shows of rows, words or whatever predictions are about."""
    return (
        f"Left, {things} by a model's confidence, the probability of what it puts first: the "
        f"further right, the surer it is. Right, {things} by the distance of the two models' "
        "probabilities (half the sum of differences: 0 equal, 1 nothing in common); filled where "
        "both put the same first, hatched where they do not. Counts are on a logarithmic scale."
    )


def draw_confidence(predictions: Predictions, name: str) -> bytes:
    """Return the figure of one student as an SVG document in UTF-8."""
    return to_svg(lambda: build_confidence(predictions), f"confidence of {name}")


def build_confidence(predictions: Predictions) -> Figure:
    """Return the figure as matplotlib holds it."""
    figure = Figure(figsize=(5.0, 2.8))
    sure, apart = figure.subplots(1, 2, sharey=True)
    figure.subplots_adjust(left=0.155, right=0.97, bottom=0.17, top=0.9, wspace=0.14)
    _draw_confidence(sure, predictions)
    _draw_distance(apart, predictions)
    sure.set_ylabel(things_of(predictions.kind))
    for axes in (sure, apart):
        axes.set_xlim(0, 1)
        axes.set_yscale("symlog", linthresh=1)
        axes.set_ylim(0, 2.5 * len(predictions.labels))
        axes.yaxis.set_major_formatter("{x:,.0f}")
        axes.xaxis.set_major_locator(MultipleLocator(0.25))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.grid(axis="y", color=INK, alpha=0.12, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 0.97), fontsize=9, ncols=2, borderpad=0,
            handlelength=1.3, columnspacing=1.2, borderaxespad=0.2,
        )  # fmt: skip
    return figure


def _draw_confidence(axes: Axes, predictions: Predictions) -> None:
    edges = np.linspace(0, 1, N_BINS + 1)
    ours, theirs = (
        np.histogram(confidence.clip(0, 1), edges)[0] for confidence in predictions.confidences
    )
    axes.stairs(ours, edges, fill=True, color=STUDENT_COLOUR, alpha=0.75, label="student")
    axes.stairs(theirs, edges, color=TEACHER_COLOUR, linewidth=1.8, label="teacher")
    axes.set_xlabel("confidence")


def _draw_distance(axes: Axes, predictions: Predictions) -> None:
    edges = np.linspace(0, 1, N_BINS + 1)
    distances = np.abs(predictions.student - predictions.teacher).sum(1) / 2
    agrees = predictions.agrees
    alike, other = (np.histogram(distances[rows], edges)[0] for rows in (agrees, ~agrees))
    same = "same piece" if predictions.is_of_pieces else "same label"
    axes.stairs(alike, edges, fill=True, color=STUDENT_COLOUR, alpha=0.75, label=same)
    axes.stairs(other, edges, color=TEACHER_COLOUR, linewidth=1.8, hatch="////", label="another")
    axes.set_xlabel("distance")
