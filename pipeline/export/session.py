"""An ONNX file that is open in onnxruntime, and how far its logits are from its student's."""

from pathlib import Path

import numpy as np
import onnxruntime
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from pipeline.core.errors import ExportError
from pipeline.models.predict import ModelInputs

MOST = 1e-4
"""Largest difference of a float32 logit that is taken for rounding. Another kernel adds the same
some hundred terms in another order, each rounded to 6e-8 of itself; through a dozen layers that
is some 1e-5 for logits of up to 10. A mask or a weight at the wrong place differs by far more."""

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

    def logits(self, inputs: ModelInputs) -> Float[Tensor, "..."]:
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
