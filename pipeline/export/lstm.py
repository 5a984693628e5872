"""LSTMs as the one ONNX operator that they are.

torch's exporter takes an LSTM apart, and what follows one then has the length of the example
that was traced with. Its place is taken by a module that stands for ONNX's own LSTM, which
onnxruntime runs as a whole and can keep in 8 bits.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


def with_onnx_lstms(model: nn.Module) -> None:
    """Put an `OnnxLstm` in the place of each LSTM of one layer and one direction.

    Others are left as they are. The model can then be exported, and nothing else.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.LSTM) and _is_plain(module):
            model.set_submodule(name, OnnxLstm(module))


def _is_plain(lstm: nn.LSTM) -> bool:
    return (
        (lstm.num_layers, lstm.bidirectional, lstm.proj_size) == (1, False, 0)
        and lstm.batch_first
        and lstm.bias
    )


class OnnxLstm(nn.Module):
    """The ONNX operator LSTM with the weights of one of torch's; it gives the states alone."""

    inner: Tensor
    """(direction, gates, hidden)."""
    recurrent: Tensor
    """(direction, gates, hidden)."""
    bias: Tensor
    """(direction, 2 gates): of the input, then of the state."""

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.hidden_size = lstm.hidden_size
        inner, recurrent, *biases = (
            _in_onnx_order(lstm.get_parameter(f"{name}_l0"))
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.register_buffer("inner", inner)
        self.register_buffer("recurrent", recurrent)
        self.register_buffer("bias", torch.cat(biases, dim=1))

    def forward(
        self, states: Float[Tensor, "batch token hidden"]
    ) -> tuple[Float[Tensor, "batch token hidden"], None]:
        """Return (batch, token, hidden); what it computes here is no more than the shape."""
        n_rows, n_tokens, _ = states.shape
        outputs = torch.onnx.ops.symbolic(
            "LSTM",
            (states.transpose(0, 1), self.inner, self.recurrent, self.bias),
            {"hidden_size": self.hidden_size},
            dtype=states.dtype,
            shape=(n_tokens, 1, n_rows, self.hidden_size),  # the 1 is of directions
        )
        return outputs.squeeze(1).transpose(0, 1), None


def _in_onnx_order(gates: Tensor) -> Tensor:
    """Return (1, gates, ...) with the gates in, out, forget, cell; torch has in, forget, cell, out.

    The first axis is of directions.
    """
    inner, forget, cell, out = gates.detach().chunk(4)
    return torch.cat([inner, out, forget, cell]).unsqueeze(0)
