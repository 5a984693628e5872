"""How often a model is right in all that it says of a row."""

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure


def exact_match(answers: Answers) -> float:
    """Return the share of rows of which every prediction is right, a fraction."""
    _, row = np.unique(answers.rows, return_inverse=True)
    n_wrong = np.bincount(row, weights=answers.predicted != answers.labels)
    return float(np.mean(n_wrong == 0))


EXACT_MATCH = Measure(
    name="exact_match",
    heading="exact match",
    unit=PERCENT,
    meaning="Share of the rows of which everything that the model says is right.",
    compute=exact_match,
    kinds=frozenset(("multi_label", "token_classification")),
)
