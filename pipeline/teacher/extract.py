"""One forward of the teacher, and the signals taken from it.

Values at padded positions mean nothing; who stores the signals leaves them out.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.models.architecture import head_reads
from pipeline.models.attention import AttentionKind, AttentionTap, remove_tap
from pipeline.models.cls import cls_state
from pipeline.models.encoder_decoder import layer_counts
from pipeline.models.padding import pad_rows
from pipeline.store.encoding import encode, fits
from pipeline.store.pieces import TopLogits
from pipeline.store.spec import Arrays, ArraySpec, SignalName
from pipeline.teacher.begun_store import Precision
from pipeline.teacher.top_logits import top_logits
from pipeline.text.token_row import TokenRow

_OF_STATES = ("cls", "hidden_states", "decoder_hidden_states")
_OF_TOP: dict[SignalName, str] = {
    "top_logits": "values",
    "top_pieces": "pieces",
    "log_sum_exp": "log_sum_exp",
    "target_logits": "target",
}
"""What of `TopLogits` each signal is."""
_MAPS_OF: dict[SignalName, AttentionKind] = {
    "attentions": "encoder",
    "decoder_attentions": "decoder",
    "cross_attentions": "cross",
}


@dataclass(frozen=True)
class Extracted:
    """Encoded signals of a batch on their way to the CPU."""

    _values: Mapping[ArraySpec, Tensor]
    _fits: Mapping[ArraySpec, Tensor]
    _copied: torch.cuda.Event | None

    def wait(self) -> Mapping[ArraySpec, Tensor]:
        """Return each array, padded to the longest row, once it has arrived.

        Shapes: logits (row, label), token_logits (row, token, label), cls (row, layer, hidden),
        hidden_states (row, token, hidden), attentions (row, head, query, key), their mean over
        heads with one head. What there is of the whole vocabulary has no padding: top_logits and
        top_pieces (target, k), log_sum_exp and target_logits (target,), row after row.
        decoder_hidden_states (row, target, hidden), decoder_attentions (row, head, target, target),
        cross_attentions (row, head, target, token).
        """
        if self._copied is not None:
            self._copied.synchronize()
        return self._values

    def misfits(self) -> list[ArraySpec]:
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
        *,
        has_token_types: bool,
    ) -> None:
        """Move `model` to `device`; `arrays` gives the encoding of each.

        Raises:
            CheckpointError: the model cannot give attention maps.
        """
        self._model = model
        nn.Module.to(model, device)  # the model's own `to` is wrapped and has lost its types
        model.eval()
        self._arrays = dict(arrays)
        self._device = device
        self._precision = precision
        self._has_token_types = has_token_types
        self._has_encoder = bool(model.config.is_encoder_decoder)
        self._head_reads = None if self._has_encoder else head_reads(model.config)
        # Else a decoder keeps its keys and values for tokens to come.
        has_cache = self._has_encoder or self._head_reads == "last"
        self._options = {"use_cache": False} if has_cache else {}
        remove_tap(model)  # an earlier extractor may have left its own
        layers = {
            signal: [array.layer for array in arrays if array.signal == signal]
            for signal in _MAPS_OF
        }
        self._tap: AttentionTap | None = None
        if any(layers.values()):
            self._tap = AttentionTap(
                model,
                layers["attentions"],
                decoder_layers=layers["decoder_attentions"],
                cross_layers=layers["cross_attentions"],
            )

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
    def raw(self, rows: Sequence[TokenRow]) -> dict[ArraySpec, Tensor]:
        """Return the arrays as the model gives them, on its device."""
        pad_id = self._model.config.pad_token_id or 0
        inputs = {
            name: values.to(self._device)
            for name, values in pad_rows(
                rows, pad_id, has_token_types=self._has_token_types
            ).items()
        }
        needs_states = any(array.signal in _OF_STATES for array in self._arrays)
        with self._autocast():
            outputs = self._model(
                **inputs,
                output_hidden_states=needs_states,
                **self._options,
            )
        n_layers, _ = layer_counts(self._model.config)
        states: Sequence[Tensor] = ()
        if needs_states:
            states = outputs.encoder_hidden_states if self._has_encoder else outputs.hidden_states
        assert len(states) in (0, n_layers + 1), f"{len(states)} states of {n_layers} layers"
        maps: dict[SignalName, dict[int, Tensor]] = {}
        if self._tap is not None:
            maps = {signal: self._tap.maps(kind) for signal, kind in _MAPS_OF.items()}
        k = max((array.k for array in self._arrays), default=0)
        top = self._top(outputs.logits, rows, max(k, 1)) if self._needs_top else None

        def take(array: ArraySpec) -> Tensor:
            if array.signal in ("logits", "token_logits"):
                return outputs.logits  # type: ignore[no-any-return]
            if top is not None and array.signal in _OF_TOP:
                part = getattr(top, _OF_TOP[array.signal])
                return part[:, : array.k] if array.k else part  # type: ignore[no-any-return]
            if array.signal == "hidden_states":
                return states[array.layer]
            if array.signal == "decoder_hidden_states":
                return outputs.decoder_hidden_states[array.layer]  # type: ignore[no-any-return]
            if array.is_map:
                every_head = maps[array.signal][array.layer]
                return every_head.mean(1, True) if array.heads == "mean" else every_head
            assert self._head_reads is not None, "a model of two stacks has no [CLS]"
            ids, mask = inputs["input_ids"], inputs["attention_mask"]
            return torch.stack(
                [cls_state(state, ids, mask, self._head_reads, pad_id) for state in states], 1
            )

        return {array: take(array) for array in self._arrays}

    @property
    def _needs_top(self) -> bool:
        return any(array.signal in _OF_TOP for array in self._arrays)

    def _top(self, logits: Tensor, rows: Sequence[TokenRow], k: int) -> TopLogits:
        right = np.concatenate([row.asked.pieces for row in rows if row.asked is not None])
        assert logits.shape[0] == len(right), f"{len(logits)} logits of {len(right)} targets"
        return top_logits(logits, torch.from_numpy(right).long().to(logits.device), k)

    def _autocast(self) -> AbstractContextManager[None]:
        if self._precision == "float32":
            return nullcontext()
        return torch.autocast(self._device.type, dtype=getattr(torch, self._precision))


def _send(values: Tensor) -> Tensor:
    """Begin to copy a tensor from the device into pinned memory."""
    target = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
    return target.copy_(values, non_blocking=True)
