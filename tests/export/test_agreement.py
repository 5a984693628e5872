"""An ONNX file that is not the student is refused."""

import numpy as np
import pytest

from pipeline.core.errors import ExportError
from pipeline.export.session import MOST, check_agreement, largest_difference


def test_the_largest_difference_of_any_logit_counts() -> None:
    """Catches a mean, or a sign that cancels."""
    ours = np.zeros((3, 2), dtype=np.float32)
    theirs = np.array([[0.0, 0.5], [-0.75, 0.0], [0.25, 0.0]], dtype=np.float32)
    assert largest_difference(ours, theirs) == 0.75
    assert largest_difference(theirs, theirs) == 0.0


def test_rounding_passes() -> None:
    """Catches a bound that no file can keep."""
    check_agreement(MOST, 200)


@pytest.mark.parametrize("difference", [0.02, float("nan"), float("inf")])
def test_more_than_rounding_is_refused(difference: float) -> None:
    """Catches logits that are no numbers, which no comparison calls too large."""
    with pytest.raises(ExportError, match=rf"by up to {difference:.2g} on 1,200 rows of valid"):
        check_agreement(difference, 1200)
