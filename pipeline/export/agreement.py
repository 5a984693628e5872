"""How far an exported student's logits are from those of the student itself."""

import numpy as np
from jaxtyping import Float

from pipeline.core.errors import ExportError

MOST = 1e-4
"""Largest difference of a float32 logit that is taken for rounding. Another kernel adds the same
some hundred terms in another order, each rounded to 6e-8 of itself; through a dozen layers that
is some 1e-5 for logits of up to 10. A mask or a weight at the wrong place differs by far more."""


def largest_difference(
    ours: Float[np.ndarray, "row label"], theirs: Float[np.ndarray, "row label"]
) -> float:
    """Return the largest absolute difference of two models' logits for the same rows.

    It is not a number where a logit of either is not.
    """
    assert ours.shape == theirs.shape and ours.size
    return float(np.abs(ours.astype(np.float64) - theirs).max())


def check_agreement(difference: float, n_rows: int) -> None:
    """Refuse a float32 file that computes something else than its student.

    Raises:
        ExportError: the difference is larger than rounding explains.
    """
    if not difference <= MOST:  # also where it is not a number
        raise ExportError(
            f"the ONNX file's logits differ from PyTorch's by up to {difference:.2g} on {n_rows:,} "
            f"rows of validation; rounding explains {MOST:g}. The file was not kept: it is not "
            "the student. Use another student, or another version of torch."
        )
