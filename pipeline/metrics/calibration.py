"""How far a model's confidence is from its accuracy."""

import numpy as np
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from pipeline.metrics.answers import Answers
from pipeline.metrics.measure import POINTS, Measure

N_BINS = 15


def expected_calibration_error(answers: Answers) -> float:
    """Return the mean gap between confidence and accuracy over 15 bins of equal width.

    Each bin weighs as much as its predictions. A fraction; 0 is best.

    Source: Guo et al. 2017, 1706.04599, equation 3.
    """
    # torchmetrics bins in float32 and counts a confidence of exactly 1 in a 16th bin of
    # its own; the largest number below 1 falls into the 15th, where it belongs.
    below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    error = multiclass_calibration_error(
        # Given probabilities, it need not guess whether these are logits.
        torch.from_numpy(answers.logits).softmax(dim=1).clamp(max=below_one),
        torch.from_numpy(answers.labels),
        num_classes=answers.logits.shape[1],
        n_bins=N_BINS,
        norm="l1",
    )
    return float(error)


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
