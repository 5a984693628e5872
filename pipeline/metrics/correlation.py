"""How well a model's numbers go up and down with the true ones."""

import numpy as np
from jaxtyping import Float64

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import POINTS, Measure

_CONSTANT = 1e-13
"""Deviations of this share of the mean are rounding in float64, not a difference."""

Numbers = Float64[np.ndarray, " number"]


def pearson(answers: Answers) -> float:
    """Return the linear correlation, from -1 to 1; 0 where either side is constant."""
    return correlate(answers.logits[:, 0], answers.labels)


def spearman(answers: Answers) -> float:
    """Return the correlation of ranks, ties at their mean; 0 where either side is constant."""
    from scipy.stats import rankdata

    return correlate(rankdata(answers.logits[:, 0]), rankdata(answers.labels))


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


PEARSON = Measure(
    name="pearson",
    heading="Pearson correlation",
    unit=POINTS,
    meaning="Linear correlation between the model's numbers and the true ones, in hundredths: 100 "
    "where they lie on a rising line, 0 where they have nothing to do with each other.",
    compute=pearson,
    kinds=frozenset(("regression",)),
    lowest=-1.0,
)
SPEARMAN = Measure(
    name="spearman",
    heading="Spearman correlation",
    unit=POINTS,
    meaning="Correlation between the ranks of the model's numbers and of the true ones, in "
    "hundredths: 100 where the two are in the same order.",
    compute=spearman,
    kinds=frozenset(("regression",)),
    lowest=-1.0,
)
