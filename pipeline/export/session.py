"""An ONNX file that is open in onnxruntime."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.models.predict import ModelInputs

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

    def logits(self, inputs: ModelInputs) -> Float[np.ndarray, "batch *token label"]:
        """Return the logits of a padded batch, (batch, label) or (batch, token, label)."""
        feed = {name: inputs[name].numpy() for name in self._names}
        (logits,) = self._session.run(["logits"], feed)
        found: Float[np.ndarray, "batch *token label"] = logits
        return found

    def piece_logits(self, inputs: ModelInputs) -> Float[Tensor, "target piece"]:
        """Return the logits of a padded batch at the tokens that ask for a piece, row by row."""
        return torch.from_numpy(self.logits(inputs))[inputs["is_target"]]

    def forward(
        self, input_ids: Int[Tensor, "batch token"], attention_mask: Int[Tensor, "batch token"]
    ) -> Float[Tensor, "batch *token label"]:
        """Return the logits; all tokens are of type 0."""
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if "token_type_ids" in self._names:
            inputs["token_type_ids"] = torch.zeros_like(input_ids)
        return torch.from_numpy(self.logits(inputs))
