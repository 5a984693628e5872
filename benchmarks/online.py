"""The live teacher in the place of a store: what offline distillation is compared with.

The same batches, objectives and loop; only the signals are computed when a batch is
used, by the teacher's forward with attention maps of the needed layers alone.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedModel

from pipeline.models.inputs import Inputs
from pipeline.models.probe import Probe
from pipeline.objectives.needs import Needs
from pipeline.signals.axis import Axis, Side
from pipeline.signals.cls import MOMENTS
from pipeline.signals.signal import Array
from pipeline.signals.top_logits import TOP_PIECES
from pipeline.store.encoding import StoredSignal
from pipeline.store.reader import TeacherStore
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
        super().__init__(split, store, Needs(), Inputs(pad_id, has_token_types))
        nn.Module.to(teacher, device)
        self._probe = Probe(teacher.eval(), sorted(needs.teacher - {MOMENTS}))
        self._device = device

    def stream(
        self,
        order: EpochOrder,
        cut: Callable[[NDArray[np.int64]], list[NDArray[np.int64]]],
        *,
        first_batch: int = 0,
        is_pinned: bool = False,
    ) -> Iterator[tuple[Batch, bool]]:
        """Yield the batches with what the teacher says of them now."""
        parts = super().stream(order, cut, first_batch=first_batch, is_pinned=is_pinned)
        for batch, is_last in parts:
            yield replace(batch, signals=self._signals(batch.to(self._device))), is_last

    @torch.no_grad()
    def _signals(self, batch: Batch) -> dict[Array, StoredSignal]:
        forward = self._probe(batch.inputs, batch.labels)
        return {
            array: StoredSignal(values, "int32")
            if array.signal == TOP_PIECES
            else StoredSignal(_flat(values, array, forward.masks).float(), "float32")
            for array, values in self._probe.take(forward).items()
        }


def _flat(values: Tensor, array: Array, masks: Mapping[Side, Tensor]) -> Tensor:
    """Return what is no padding, as a store has it; rows and targets have none."""
    if array.axis.is_pair:
        queries, keys = (masks[side] for side in array.axis.sides)
        is_pair = queries[:, None, :, None] & keys[:, None, None, :]
        return values[is_pair.expand_as(values)]
    return values[masks["token"]] if array.axis == Axis.TOKEN else values
