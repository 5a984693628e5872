"""One forward of the teacher, and the signals taken from it.

[CLS] is the state at position 0, which the heads of the supported model types read.
Values at padded positions mean nothing and are never passed on.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.attention import AttentionTap
from pipeline.store.encoding import encode
from pipeline.store.spec import ArraySpec, Encoding, SignalName
from pipeline.text.padding import TokenRow, pad_rows

EXTRACTION = 1
"""Version of the rules in this file. Raise it when the same teacher and row would give
other numbers: stores carry it in their identity."""

Precision = Literal["float32", "bfloat16", "float16"]


class Extractor:
    """A teacher that is set up to give certain arrays for batches of rows."""

    def __init__(
        self,
        model: PreTrainedModel,
        arrays: Iterable[ArraySpec],
        encodings: Mapping[SignalName, Encoding],
        precision: Precision,
        device: torch.device,
        *,
        has_token_types: bool,
    ) -> None:
        """Move `model` to `device`; `encodings` gives the encoding of each signal."""
        self._model = model
        nn.Module.to(model, device)  # the model's own `to` is wrapped and has lost its types
        model.eval()
        self._arrays = tuple(arrays)
        self._encodings = encodings
        self._device = device
        self._precision = precision
        self._has_token_types = has_token_types
        layers = [array.layer for array in self._arrays if array.signal == "attentions"]
        self._tap = AttentionTap(model, layers) if layers else None
        if self._tap is None and model._can_set_attn_implementation():
            model.set_attn_implementation("sdpa")  # an earlier extractor may have left its tap

    def __call__(self, rows: Sequence[TokenRow]) -> dict[ArraySpec, Tensor]:
        """Return each array for these rows, padded to the longest, encoded, on the CPU.

        Shapes: logits (row, label), cls (row, layer, hidden), attentions (row, head,
        query, key).

        Raises:
            SignalError: a value does not fit its encoding.
        """
        needs_states = any(array.signal == "cls" for array in self._arrays)
        with torch.inference_mode(), self._autocast():
            outputs = self._model(**self._inputs(rows), output_hidden_states=needs_states)
        signals: dict[ArraySpec, Tensor] = {}
        for array in self._arrays:
            if array.signal == "logits":
                signals[array] = outputs.logits
            elif array.signal == "cls":
                n_expected = int(self._model.config.num_hidden_layers) + 1
                assert len(outputs.hidden_states) == n_expected
                signals[array] = torch.stack([state[:, 0] for state in outputs.hidden_states], 1)
            else:
                assert self._tap is not None
                signals[array] = self._tap.maps()[array.layer]
        return {array: self._encode(array, values) for array, values in signals.items()}

    def _inputs(self, rows: Sequence[TokenRow]) -> dict[str, Tensor]:
        pad_id = self._model.config.pad_token_id or 0
        inputs = pad_rows(rows, pad_id, has_token_types=self._has_token_types)
        return {name: values.to(self._device) for name, values in inputs.items()}

    def _autocast(self) -> AbstractContextManager[None]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self._precision))

    def _encode(self, array: ArraySpec, values: Tensor) -> Tensor:
        return encode(values.float(), self._encodings[array.signal], array.name).cpu()
