"""How far a model's numbers are from the true ones."""

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PLAIN, Measure


def mean_squared_error(answers: Answers) -> float:
    """Return the mean of squared differences, in squares of the labels' own unit."""
    return float(np.mean((answers.labels - answers.logits[:, 0]) ** 2))


MEAN_SQUARED_ERROR = Measure(
    name="mean_squared_error",
    heading="mean squared error",
    unit=PLAIN,
    meaning="Mean of the squared differences between the model's numbers and the true ones. 0 is "
    "best.",
    compute=mean_squared_error,
    kinds=frozenset(("regression",)),
    highest=None,
    is_larger_better=False,
)
