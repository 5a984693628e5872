"""Metrics of predictions that are numbers."""

import numpy as np
from jaxtyping import Float64

from pipeline.metrics.measure import PLAIN, POINTS, Measure
from pipeline.tasks.predictions import Predictions
from pipeline.tasks.task import Task

_CONSTANT = 1e-13
"""Deviations of this share of the mean are rounding in float64, not a difference."""

Numbers = Float64[np.ndarray, " number"]


def pearson(predictions: Predictions) -> float:
    """Return the linear correlation, from -1 to 1; 0 where either side is constant."""
    return correlate(predictions.logits[:, 0], predictions.labels)


def spearman(predictions: Predictions) -> float:
    """Return the correlation of ranks, ties at their mean; 0 where either side is constant."""
    from scipy.stats import rankdata

    return correlate(rankdata(predictions.logits[:, 0]), rankdata(predictions.labels))


def correlate(ours: Numbers, theirs: Numbers) -> float:
    """Return Pearson's correlation of two columns; 0 where either is constant."""
    columns = []
    for values in (ours, theirs):
        mean = values.mean()
        deviations = values - mean
        norm = np.linalg.norm(deviations)
        if norm <= _CONSTANT * abs(mean):
            return 0.0
        columns.append(deviations / norm)
    return float(np.clip(columns[0] @ columns[1], -1, 1))


def mean_squared_error(predictions: Predictions) -> float:
    """Return the mean of squared differences, in squares of the labels' own unit."""
    return float(np.mean((predictions.labels - predictions.logits[:, 0]) ** 2))


def _is_of_numbers(task: Task) -> bool:
    return task.predicts_numbers


PEARSON = Measure(
    name="pearson",
    heading="Pearson correlation",
    unit=POINTS,
    meaning="Linear correlation between the model's numbers and the true ones, in hundredths: 100 "
    "where they lie on a rising line, 0 where they have nothing to do with each other.",
    compute=pearson,
    fits=_is_of_numbers,
    hub_name="pearsonr",
    lowest=-1.0,
)
SPEARMAN = Measure(
    name="spearman",
    heading="Spearman correlation",
    unit=POINTS,
    meaning="Correlation between the ranks of the model's numbers and of the true ones, in "
    "hundredths: 100 where the two are in the same order.",
    compute=spearman,
    fits=_is_of_numbers,
    hub_name="spearmanr",
    lowest=-1.0,
)
MEAN_SQUARED_ERROR = Measure(
    name="mean_squared_error",
    heading="mean squared error",
    unit=PLAIN,
    meaning="Mean of the squared differences between the model's numbers and the true ones. 0 is "
    "best.",
    compute=mean_squared_error,
    fits=_is_of_numbers,
    hub_name="mse",
    highest=None,
    greater_is_better=False,
)
