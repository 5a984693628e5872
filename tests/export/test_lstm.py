"""LSTMs that stand for ONNX's, against the operator's definition."""

import torch
from torch import Tensor, nn

from pipeline.export.lstm import OnnxLstm, with_onnx_lstms


def onnx_lstm(states: Tensor, inner: Tensor, recurrent: Tensor, bias: Tensor) -> Tensor:
    """Return the states by ONNX's definition; the gates are in, out, forget, cell."""
    hidden = cell = torch.zeros(len(states), recurrent.shape[1], dtype=states.dtype)
    outputs = []
    for token in states.unbind(1):
        of_input, of_state = bias.chunk(2)
        gates = token @ inner.T + of_input + hidden @ recurrent.T + of_state
        opened, out, forget, fresh = gates.chunk(4, dim=1)
        cell = forget.sigmoid() * cell + opened.sigmoid() * fresh.tanh()
        hidden = out.sigmoid() * cell.tanh()
        outputs.append(hidden)
    return torch.stack(outputs, dim=1)


def test_the_weights_are_in_the_operators_order() -> None:
    """Catches gates that are mixed up: the shapes are all alike."""
    torch.manual_seed(0)
    lstm = nn.LSTM(3, 5, batch_first=True).double()
    ours = OnnxLstm(lstm)
    states = torch.randn(2, 7, 3, dtype=torch.float64)
    with torch.no_grad():
        found = onnx_lstm(states, ours.inner[0], ours.recurrent[0], ours.bias[0])
        expected, _ = lstm(states)
    # Seven steps of sums of some ten terms below 10 in float64.
    assert torch.allclose(found, expected, rtol=0, atol=1e-13)
    assert ours(states)[0].shape == expected.shape


def test_only_what_the_operator_can_be_is_replaced() -> None:
    """Catches an LSTM of two directions that loses one on the way."""
    model = nn.ModuleDict(
        {
            "plain": nn.LSTM(3, 5, batch_first=True),
            "both": nn.LSTM(3, 5, batch_first=True, bidirectional=True),
            "deep": nn.LSTM(3, 5, batch_first=True, num_layers=2),
            "without": nn.LSTM(3, 5, batch_first=True, bias=False),
            "time": nn.LSTM(3, 5),
            "nested": nn.Sequential(nn.LSTM(3, 5, batch_first=True)),
        }
    )
    with_onnx_lstms(model)
    replaced = {name for name, module in model.named_modules() if isinstance(module, OnnxLstm)}
    assert replaced == {"plain", "nested.0"}
