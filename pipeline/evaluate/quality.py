"""How good a classifier's logits are: against the labels, and against its teacher's logits.

For tasks with one label a row. No model is run here, and nothing is read or written.
"""

import numpy as np
import torch
from jaxtyping import Float, Float64, Integer
from sklearn.metrics import accuracy_score, f1_score
from torch.nn import functional
from torchmetrics.functional.classification import multiclass_calibration_error

from pipeline.errors import DataError, SignalError
from pipeline.text.tokens import UNLABELLED

Logits = Float[np.ndarray, "row label"]
ExactLogits = Float64[np.ndarray, "row label"]
Labels = Integer[np.ndarray, "row"]

N_CALIBRATION_BINS = 15


def quality(logits: Logits, labels: Labels) -> dict[str, float]:
    """Return accuracy, macro-F1 and expected calibration error over the labelled rows.

    `logits` are pre-softmax, one row each; `labels` are indices into their columns, or
    -1 for a row without a label, which is left out.

    Macro-F1 is the mean over the labels that occur among the labelled rows. A label that
    is only ever predicted has no recall to speak of; it costs precision where it is
    wrong, and the mean has the same terms for every model that is tested on these rows.

    All three are fractions: `accuracy`, `macro_f1`, and `expected_calibration_error`, the
    mean gap between confidence and accuracy over 15 bins of equal width, each weighted
    by its rows. Without a labelled row the result is empty.

    Raises:
        DataError: the shapes do not fit, or a label is not a column of the logits.
        SignalError: a logit is infinite or not a number.

    Source: Guo et al. 2017, 1706.04599, equation 3.
    """
    if labels.shape != logits.shape[:1]:
        raise DataError(f"labels have shape {labels.shape}, logits {logits.shape}")
    is_labelled = labels != UNLABELLED
    if not is_labelled.any():
        return {}
    labels = labels[is_labelled].astype(np.int64)
    _require_columns(labels, n_labels=logits.shape[1])
    exact_logits = _exact(logits[is_labelled], "logits")
    predicted = exact_logits.argmax(axis=1)
    macro_f1 = f1_score(
        labels, predicted, labels=np.unique(labels), average="macro", zero_division=0.0
    )
    return {
        "accuracy": float(accuracy_score(labels, predicted)),
        "macro_f1": float(macro_f1),
        "expected_calibration_error": _calibration_error(exact_logits, labels),
    }


def fidelity(student_logits: Logits, teacher_logits: Logits) -> dict[str, float]:
    """Return how closely a student's logits follow its teacher's, row by row.

    `agreement` is the share of rows in which both put the same label first, a fraction;
    `kl` is the mean over the rows of KL(teacher || student) at temperature 1, in nats,
    zero at equality. Without a row the result is empty.

    Raises:
        DataError: the two differ in shape, so their rows or labels cannot be paired.
        SignalError: a logit is infinite or not a number.
    """
    if student_logits.shape != teacher_logits.shape:
        raise DataError(
            f"student logits have shape {student_logits.shape}, "
            f"teacher logits {teacher_logits.shape}; fidelity pairs them row by row"
        )
    if len(student_logits) == 0:
        return {}
    student = _exact(student_logits, "student logits")
    teacher = _exact(teacher_logits, "teacher logits")
    kl = functional.kl_div(
        torch.from_numpy(student).log_softmax(dim=1),
        torch.from_numpy(teacher).log_softmax(dim=1),
        reduction="batchmean",
        log_target=True,
    )
    return {
        "agreement": float(np.mean(student.argmax(axis=1) == teacher.argmax(axis=1))),
        # Rounding can leave a divergence of 0 a hair below it.
        "kl": max(0.0, float(kl)),
    }


def _calibration_error(logits: ExactLogits, labels: Labels) -> float:
    # torchmetrics bins in float32 and counts a confidence of exactly 1 in a 16th bin of
    # its own; the largest number below 1 falls into the 15th, where it belongs.
    below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    error = multiclass_calibration_error(
        # Given probabilities, it need not guess whether these are logits.
        torch.from_numpy(logits).softmax(dim=1).clamp(max=below_one),
        torch.from_numpy(labels),
        num_classes=logits.shape[1],
        n_bins=N_CALIBRATION_BINS,
        norm="l1",
    )
    return float(error)


def _exact(logits: Logits, name: str) -> ExactLogits:
    """Return a float64 copy, which may be made of read-only memory and of half precision."""
    exact = np.array(logits, dtype=np.float64)
    n_bad = int(np.count_nonzero(~np.isfinite(exact)))
    if n_bad:
        raise SignalError(
            f"{name}: {n_bad:,} of {exact.size:,} values are infinite or not a number, "
            "so no metric of them means anything. Look at the training that made them."
        )
    return exact


def _require_columns(labels: Labels, n_labels: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_labels:
        raise DataError(
            f"labels run from {low} to {high}, but the logits have {n_labels} columns "
            f"(0..{n_labels - 1}; {UNLABELLED} marks a row without a label)"
        )
