"""The recurrent student: its states beside torch's own bidirectional LSTM, and its pooling."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.student.own_models import (
    ROUNDING,
    make_config,
    make_own,
    make_texts,
    pad,
    with_large_biases,
)


def reference_lstm(model: Any) -> nn.LSTM:
    """Return torch's bidirectional LSTM with the model's weights."""
    config = model.config
    lstm = nn.LSTM(
        config.embedding_size, config.lstm_size, config.n_layers, bidirectional=True
    ).double()
    state = {}
    for number, layer in enumerate(model.layers):
        for direction, suffix in ((layer.forwards, ""), (layer.backwards, "_reverse")):
            for name, values in direction.state_dict().items():
                state[name.replace("_l0", f"_l{number}{suffix}")] = values
    lstm.load_state_dict(state)
    return lstm


def reference(model: Any, text: list[int]) -> tuple[Tensor, Tensor]:
    """Return one text's attention weights and ReLU layer, without batch and padding."""
    states, _ = reference_lstm(model)(model.embeddings.weight[text])
    v = model.score.weight[0]
    scores = torch.stack([v @ torch.tanh(model.attention(state)) for state in states])
    weights = scores.exp() / scores.exp().sum()
    pooled = sum(weight * state for weight, state in zip(weights, states, strict=True))
    return weights, (model.hidden.weight @ pooled + model.hidden.bias).clamp(min=0)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("n_layers", [1, 3])
@pytest.mark.parametrize("is_biased", [False, True])
def test_equals_the_reference(side: str, n_layers: int, is_biased: bool) -> None:
    """Catches a direction that reads padding or comes back in reverse, and layers misconnected."""
    model = make_own("bilstm", n_layers=n_layers).double()
    if is_biased:
        with_large_biases(model)
    texts = make_texts((9, 5, 2, 1))
    with torch.no_grad():
        outputs = model(**pad(texts, 11, side=side))
        for row, text in enumerate(texts):
            weights, hidden = reference(model, text)
            start = 11 - len(text) if side == "left" else 0
            found = outputs.attentions[row, start : start + len(text)]
            torch.testing.assert_close(found, weights, rtol=ROUNDING, atol=ROUNDING)
            assert hidden.max() > 0
            torch.testing.assert_close(
                outputs.pooler_output[row], hidden, rtol=ROUNDING, atol=ROUNDING
            )


def test_padding_inside_a_row_is_passed_over() -> None:
    """Catches real tokens that change places, or a row cut at its first padding."""
    model = make_own("bilstm").double()
    mask = torch.tensor([[0, 1, 1, 0, 0, 1, 0, 1]])
    ids = torch.tensor(make_texts((8,)))
    with torch.no_grad():
        outputs, alone = model(ids, mask), model(ids[mask == 1][None])
    torch.testing.assert_close(outputs.logits, alone.logits, rtol=ROUNDING, atol=ROUNDING)
    torch.testing.assert_close(
        outputs.attentions[mask == 1], alone.attentions[0], rtol=ROUNDING, atol=ROUNDING
    )


@pytest.mark.parametrize("side", ["right", "left"])
def test_attention_weights_are_of_the_real_tokens(side: str) -> None:
    """Catches weight at padding, and weights that do not add up."""
    model = make_own("bilstm").double()
    batch = pad([*make_texts((9, 4, 1)), []], 10, side=side)
    weights = model(**batch).attentions
    is_real = batch["attention_mask"] == 1
    assert weights[~is_real].eq(0).all() and weights[is_real].gt(0).all()
    sums = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    torch.testing.assert_close(weights.sum(1), sums, rtol=0, atol=10 * 2**-53)  # 10 terms
    assert weights[0].std() > 1e-4  # else a plain mean would pass


def test_a_row_of_padding_has_an_empty_sum() -> None:
    """Catches states of padding that are summed where nothing else is."""
    model = with_large_biases(make_own("bilstm"))
    outputs = model(**pad([[5, 6], []], 4, side="right"))
    assert torch.equal(outputs.pooler_output[1], model.hidden.bias.relu())


@pytest.mark.parametrize("n_layers", [1, 2])
def test_dropout_is_between_layers(n_layers: int) -> None:
    """Catches layers without dropout between them, and dropout of what one layer reads."""
    model = make_own("bilstm", n_layers=n_layers, dropout=0.5).train()
    batch = pad(make_texts((9, 4)), 9, side="right")
    is_equal = torch.equal(model(**batch).attentions, model(**batch).attentions)
    assert is_equal == (n_layers == 1)


@pytest.mark.parametrize("field", ["lstm_size", "n_layers", "hidden_size"])
def test_impossible_values_are_refused(field: str) -> None:
    """Catches a model without states or layers."""
    with pytest.raises(ValueError, match=f"{field} must be a whole number of at least 1, got 0"):
        make_config("bilstm", **{field: 0})
