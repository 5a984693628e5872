"""An ONNX file that is open in onnxruntime."""

from pathlib import Path

import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.models.predict import Inputs

_ERROR = 3  # onnxruntime's severity: neither information nor warnings


class OnnxStudent(nn.Module):
    """Calls an ONNX file like a student, on the CPU, with as many threads as torch has."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = _ERROR
        self._session = onnxruntime.InferenceSession(
            path, options, providers=["CPUExecutionProvider"]
        )
        self._names = [one.name for one in self._session.get_inputs()]

    def logits(self, inputs: Inputs) -> Float[Tensor, "..."]:
        """Return the logits of a padded batch, (batch, label) or (batch, token, label).

        Where the batch has label positions, those at these alone, (target, token id).
        """
        feed = {name: inputs[name].numpy() for name in self._names}
        (found,) = self._session.run(["logits"], feed)
        logits = torch.from_numpy(found)
        return logits[inputs["is_target"]] if "is_target" in inputs else logits

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch *token label"]:
        """Return the logits; all tokens are of type 0."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._names:
            inputs["token_type_ids"] = torch.zeros_like(input_ids)
        return self.logits(inputs)
