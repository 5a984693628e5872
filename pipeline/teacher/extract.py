"""One forward of the teacher, and its arrays on their way to the CPU, encoded.

Values at padded positions mean nothing; who stores the signals leaves them out.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.models.attention import remove_tap
from pipeline.models.inputs import Inputs
from pipeline.models.probe import Probe
from pipeline.signals.signal import Array, Arrays
from pipeline.store.encoding import encode, fits
from pipeline.teacher.begun_store import Precision
from pipeline.text.token_row import TokenRow


@dataclass(frozen=True)
class Extracted:
    """Encoded arrays of a batch on their way to the CPU."""

    _values: Mapping[Array, Tensor]
    _fits: Mapping[Array, Tensor]
    _copied: torch.cuda.Event | None

    def wait(self) -> Mapping[Array, Tensor]:
        """Return each array once it has arrived.

        Shapes: (row, ...), padded to the longest row along tokens and targets; attention maps
        (row, head, query, key), their mean over heads with one head. What there is of the whole
        vocabulary has no padding: top-k logits and their ids (target, k), log-sum-exps and the
        right tokens' logits (target,), row after row.
        """
        if self._copied is not None:
            self._copied.synchronize()
        return self._values

    def misfits(self) -> list[Array]:
        """Return the arrays with values, perhaps padding, that their encoding cannot hold."""
        self.wait()
        return [array for array, is_fit in self._fits.items() if not bool(is_fit)]


class Extractor:
    """A teacher that is set up to give certain arrays for batches of rows."""

    def __init__(
        self,
        model: PreTrainedModel,
        arrays: Arrays,
        precision: Precision,
        device: torch.device,
        inputs: Inputs,
    ) -> None:
        """Move `model`, which reads rows as `inputs` says, to `device`.

        `arrays` gives the encoding of each.

        Raises:
            CheckpointError: the model cannot give attention maps.
        """
        nn.Module.to(model, device)  # the model's own `to` is wrapped and has lost its types
        model.eval()
        remove_tap(model)  # an earlier extractor may have left its own
        self._probe = Probe(model, arrays)
        self._arrays = dict(arrays)
        self._device = device
        self._precision = precision
        self._inputs = inputs

    def __call__(self, rows: Sequence[TokenRow]) -> Extracted:
        """Compute the arrays of these rows, encode them and send them to the CPU.

        On CUDA the copies run while the next batch is computed.
        """
        with torch.inference_mode():
            values = self.raw(rows)
            encoded, is_fit = {}, {}
            for array, encoding in self._arrays.items():
                own = values.pop(array)  # so that it is gone when the next one is encoded
                encoded[array] = encode(own, encoding)
                is_fit[array] = fits(own, encoding)
            if self._device.type != "cuda":
                return Extracted(encoded, is_fit, None)
            on_cpu = {array: _send(part) for array, part in encoded.items()}
            fits_on_cpu = {array: _send(part) for array, part in is_fit.items()}
            copied = torch.cuda.current_stream(self._device).record_event()
            return Extracted(on_cpu, fits_on_cpu, copied)

    @torch.inference_mode()
    def raw(self, rows: Sequence[TokenRow]) -> dict[Array, Tensor]:
        """Return the arrays as the model gives them, on its device."""
        labels = [row.asked.pieces for row in rows if row.asked is not None]
        label_ids = None
        if labels:
            label_ids = torch.from_numpy(np.concatenate(labels)).long().to(self._device)
        inputs = self._inputs.pad(rows, self._device)
        with self._autocast():
            forward = self._probe(inputs, label_ids)
        return self._probe.take(forward)

    def _autocast(self) -> AbstractContextManager[None]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self._precision))


def _send(values: Tensor) -> Tensor:
    """Begin to copy a tensor from the device into pinned memory."""
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return target.copy_(values, non_blocking=True)
