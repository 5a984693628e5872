"""The convolutional student: its features, counted by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.student.own_models import (
    ROUNDING,
    make_config,
    make_own,
    make_texts,
    pad,
    with_large_biases,
)


def reference_features(model: Any, text: list[int]) -> Tensor:
    """Return the features of one text, one window and one filter at a time."""
    vectors = [model.embeddings.weight[token] for token in text]
    nothing = torch.zeros_like(vectors[0])
    features = []
    for convolution, width in zip(model.convolutions, model.config.filter_widths, strict=True):
        for weight, bias in zip(convolution.weight, convolution.bias, strict=True):
            values = []
            for start in range(len(text)):
                window = [*vectors[start : start + width], *[nothing] * width][:width]
                terms = [weight[:, place] @ vector for place, vector in enumerate(window)]
                values.append((sum(terms) + bias).clamp(min=0))
            features.append(max(values))
    return torch.stack(features)


@pytest.mark.parametrize("is_biased", [False, True])
def test_equals_the_reference(is_biased: bool) -> None:
    """Catches windows too many or too few, filters out of order, and ReLU in the wrong place."""
    model = make_own("text_cnn").double()
    if is_biased:
        with_large_biases(model)
    texts = make_texts((9, 5, 3, 1))
    with torch.no_grad():
        outputs = model(**pad(texts, 11, side="right"))
        for row, text in enumerate(texts):
            features = reference_features(model, text)
            assert features.max() > 0 and len(features) == 3 * 4
            torch.testing.assert_close(
                outputs.pooler_output[row], features, rtol=ROUNDING, atol=ROUNDING
            )
            logits = model.classifier.weight @ features + model.classifier.bias
            torch.testing.assert_close(outputs.logits[row], logits, rtol=ROUNDING, atol=ROUNDING)


def test_a_text_shorter_than_every_filter_has_features() -> None:
    """Catches a convolution that fails on short texts, or gives nothing for them."""
    model = make_own("text_cnn", filter_widths=[4, 7]).double()
    with torch.no_grad():
        outputs = model(torch.tensor([[11, 12]]))
        expected = reference_features(model, [11, 12])
    assert expected.max() > 0
    torch.testing.assert_close(outputs.pooler_output[0], expected, rtol=ROUNDING, atol=ROUNDING)


def test_a_row_of_padding_has_no_features() -> None:
    """Catches features of a row that says nothing."""
    model = with_large_biases(make_own("text_cnn"))
    outputs = model(**pad([[5, 6], []], 4, side="right"))
    assert outputs.pooler_output[0].max() > 0
    assert outputs.pooler_output[1].eq(0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_filters": 0}, r"n_filters must be a whole number of at least 1, got 0"),
        ({"filter_widths": []}, r"filter_widths must list at least one width, got \[\]"),
        ({"filter_widths": 3}, r"filter_widths must list at least one width, got 3"),
        ({"filter_widths": [3, 0]}, r"filter_widths must be a whole number .*, got 0"),
    ],
)
def test_impossible_values_are_refused(options: dict[str, Any], message: str) -> None:
    """Catches a model without filters."""
    with pytest.raises(ValueError, match=message):
        make_config("text_cnn", **options)
