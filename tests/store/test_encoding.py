"""Encodings keep what they can represent and refuse the rest."""

import pytest
import torch

from pipeline.errors import SignalError
from pipeline.store.encoding import encode


def test_overflow_is_refused_with_its_numbers() -> None:
    """Catches infinities in a store."""
    values = torch.tensor([1.0, -70912.4, 65520.0, 65504.0])
    with pytest.raises(SignalError) as caught:
        encode(values, "float16", "logits of segment 00003")
    assert str(caught.value) == (
        "logits of segment 00003: 2 values overflow float16 (largest 70,912; limit 65,504). "
        "Store this signal as float32."
    )


def test_values_that_are_not_finite_are_refused_with_their_number() -> None:
    """Catches a diverged teacher whose NaN are kept, or blamed on the encoding."""
    values = torch.tensor([1.0, float("nan"), float("inf"), 70000.0])
    for encoding in ("float16", "float32"):
        with pytest.raises(SignalError, match=r"^cls: 2 values are not finite\. The teacher div"):
            encode(values, encoding, "cls")


def test_values_that_fit_are_kept() -> None:
    """Catches an encoding that refuses the largest value, or changes what it can represent."""
    values = torch.tensor([65504.0, -65504.0, 0.0, 2.0**-24, 0.5])
    assert encode(values, "float16", "-").to(torch.float32).equal(values)
    assert encode(values.double(), "float32", "-").equal(values)
