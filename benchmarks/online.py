"""The live teacher in the place of a store: what offline distillation is compared with.

The same batches, objectives and loop; only the signals are computed when a batch is
used, by the teacher's forward with attention maps of the needed layers alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.models.architecture import head_reads
from pipeline.models.attention import AttentionTap
from pipeline.models.cls import cls_state
from pipeline.objectives.needs import Needs
from pipeline.store.pieces import TopLogits, top_arrays
from pipeline.store.reader import TeacherStore
from pipeline.store.spec import CLS, ArraySpec, logits_array
from pipeline.store.stored_signal import StoredSignal
from pipeline.tasks.task import BY_TOKEN
from pipeline.text.tokens import TokenSplit
from pipeline.train.batches import Batch, JoinedSplit
from pipeline.train.order import EpochOrder


class OnlineSplit(JoinedSplit):
    """A split whose signals the teacher computes, batch by batch."""

    def __init__(
        self,
        split: TokenSplit,
        store: TeacherStore,
        needs: Needs,
        teacher: PreTrainedModel,
        device: torch.device,
        *,
        has_token_types: bool,
    ) -> None:
        """Take `store` for its rows' places only; nothing else is read of it."""
        pad_id = int(teacher.config.pad_token_id or 0)
        super().__init__(split, store, Needs(), pad_id=pad_id, has_token_types=has_token_types)
        nn.Module.to(teacher, device)
        self._teacher = teacher.eval()
        self._device = device
        self._needs = needs
        self._layers = sorted(
            array.layer for array in needs.teacher if array.signal == "attentions"
        )
        self._tap = AttentionTap(teacher, self._layers) if self._layers else None

    def stream(
        self,
        order: EpochOrder,
        cut: Callable[[NDArray[np.int64]], list[NDArray[np.int64]]],
        *,
        first_batch: int = 0,
        is_pinned: bool = False,
    ) -> Iterator[Batch]:
        """Yield the batches with what the teacher says of them now."""
        for batch in super().stream(order, cut, first_batch=first_batch, is_pinned=is_pinned):
            yield replace(batch, signals=self._signals(batch.to(self._device)))

    @torch.no_grad()
    def _signals(self, batch: Batch) -> dict[ArraySpec, StoredSignal]:
        inputs = batch.inputs
        outputs = self._teacher(**inputs, output_hidden_states=CLS in self._needs.teacher)
        mask = inputs["attention_mask"]
        if self._task.predicts == "piece":
            signals = self._of_pieces(outputs.logits.float(), batch.labels)
        else:
            is_of_tokens = self._task.predicts in BY_TOKEN
            logits = outputs.logits[mask.bool()] if is_of_tokens else outputs.logits
            signals = {logits_array(self._task.predicts): logits}
        if CLS in self._needs.teacher:
            config = self._teacher.config
            states = [
                cls_state(
                    state, inputs["input_ids"], mask, head_reads(config), config.pad_token_id or 0
                )
                for state in outputs.hidden_states
            ]
            signals[CLS] = torch.stack(states, 1)
        if self._tap is not None:
            is_real = mask.bool()
            is_pair = is_real[:, None, :, None] & is_real[:, None, None, :]
            for layer, maps in self._tap.maps().items():
                signals[ArraySpec("attentions", layer)] = maps[is_pair.expand_as(maps)]
        return {
            array: StoredSignal(values, "int32")
            if array.signal == "top_pieces"
            else StoredSignal(values.float(), "float32")
            for array, values in signals.items()
        }

    def _of_pieces(
        self, logits: Float[Tensor, "target piece"], labels: Int[Tensor, " target"]
    ) -> dict[ArraySpec, Tensor]:
        """Return what a store has of these logits."""
        top = top_arrays(self._needs.teacher)
        values, pieces = logits.topk(top.values.k)
        right = logits.gather(1, labels[:, None])[:, 0]
        found = TopLogits(values, pieces, logits.logsumexp(1), right)
        return dict(zip(top, found, strict=True))
