"""How far a model's confidence is from its accuracy."""

import numpy as np

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import POINTS, Measure

N_BINS = 15


def expected_calibration_error(answers: Answers) -> float:
    """Return the mean gap between confidence and accuracy over 15 bins of equal width.

    Each bin weighs as much as its predictions; a confidence on the edge of two is in the upper
    one. A fraction; 0 is best.

    Source: Guo et al. 2017, 1706.04599, equation 3.
    """
    odds = np.exp(answers.logits - answers.logits.max(axis=1, keepdims=True))
    confidences = odds.max(axis=1) / odds.sum(axis=1)
    is_right = answers.predicted == answers.labels
    edges = np.linspace(0, 1, N_BINS + 1)[1:-1]
    gaps = np.bincount(np.searchsorted(edges, confidences, side="right"), confidences - is_right)
    return float(np.abs(gaps).sum() / len(confidences))


EXPECTED_CALIBRATION_ERROR = Measure(
    name="expected_calibration_error",
    heading="ECE",
    unit=POINTS,
    meaning="Expected calibration error: mean gap between the model's confidence and its accuracy "
    "where it is about as confident. 0 is best.",
    compute=expected_calibration_error,
    kinds=frozenset(("classification", "multi_label", "token_classification", "multiple_choice")),
    is_larger_better=False,
)
