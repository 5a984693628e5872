"""How often what a model puts first is right."""

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import PERCENT, Measure


def accuracy(answers: Answers) -> float:
    """Return the share of right predictions, a fraction."""
    return float(np.mean(answers.labels == answers.predicted))


ACCURACY = Measure(
    name="accuracy",
    heading="accuracy",
    unit=PERCENT,
    meaning="How often what the model puts first is right.",
    compute=accuracy,
    kinds=frozenset(
        ("classification", "multi_label", "token_classification", "multiple_choice", "masked_lm")
    ),
)
