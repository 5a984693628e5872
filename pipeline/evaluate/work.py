"""What one forward of a model takes: floating-point operations, and memory.

Both are counted, not timed, so they are the same in every run. Operations are those of
matrix products, convolutions and attention; what is done number by number, such as an
activation function, is left out, as is usual. Memory is that of tensors: what the
process and its libraries take besides is not the model's.
"""

import math
import weakref
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pipeline.evaluate.cost import ModelInputs, Timed, count_weight_bytes, pad_examples
from pipeline.evaluate.cost_figures import BATCH_SIZE, Work

Shape = Sequence[int]


def count_work(timed: Timed, device: torch.device) -> Work:
    """Return the work of a model, which is left on `device` and in evaluation mode.

    Costs two forwards: one of a single example, one of a batch.
    """
    timed.model.to(device).eval()
    by_length = sorted(range(len(timed.examples)), key=lambda row: len(timed.examples[row]))
    median, longest = by_length[len(by_length) // 2], by_length[-1]
    single = pad_examples(timed, [median], device)
    batch = pad_examples(timed, [longest] * BATCH_SIZE, device)
    return Work(
        flops=_count_flops(timed.model, single),
        n_tokens=len(timed.examples[median]),
        peak_memory_bytes=count_weight_bytes(timed.model) + _peak_bytes(timed.model, batch),
        n_batch_tokens=len(timed.examples[longest]),
    )


def _count_flops(model: nn.Module, inputs: ModelInputs) -> int:
    counter = FlopCounterMode(display=False, custom_mapping=_UNKNOWN_TO_TORCH)
    # A recurrent layer is one operation of cuDNN, of unknown cost; without cuDNN it is
    # made of matrix products.
    with torch.no_grad(), torch.backends.cudnn.flags(enabled=False), counter:
        model(**inputs)
    return int(counter.get_total_flops())


def _count_attention(
    query: Shape, key: Shape, value: Shape, *_: Any, out_shape: Shape | None = None, **__: Any
) -> int:
    """Of scaled-dot-product attention on the CPU; shapes are (batch, head, token, width)."""
    n_maps, n_queries = math.prod(query[:-2]), query[-2]
    return 2 * n_maps * n_queries * key[-2] * (query[-1] + value[-1])


def _count_recurrence(
    states: Shape,
    input_weights: Shape,
    hidden_weights: Shape,
    *_: Any,
    out_shape: Any = None,
    **__: Any,
) -> int:
    """Of one layer and direction of a recurrent network; `states` is (token, batch, width)."""
    weights = math.prod(input_weights) + math.prod(hidden_weights)
    return 2 * states[0] * states[1] * weights


_UNKNOWN_TO_TORCH: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _count_attention,
    torch.ops.aten.mkldnn_rnn_layer: _count_recurrence,
}
"""Operations of the CPU that PyTorch's counter takes for free, and what they cost."""


def _peak_bytes(model: nn.Module, inputs: ModelInputs) -> int:
    """Return the most bytes that tensors made by the forward hold at once."""
    known = [*model.parameters(), *model.buffers(), *inputs.values()]
    with torch.no_grad(), _LiveBytes(known) as live:
        model(**inputs)
    return int(live.peak)


class _LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no types here
    """Counts the bytes of all tensors that come into being while it is on."""

    def __init__(self, known: Iterable[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # nor here
        self.peak = 0
        self._now = 0
        self._held = {tensor.untyped_storage().data_ptr() for tensor in known}

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(outputs):
            if isinstance(leaf, Tensor):
                self._hold(leaf.untyped_storage())
        return outputs

    def _hold(self, storage: torch.UntypedStorage) -> None:
        place, size = storage.data_ptr(), storage.nbytes()
        if place in self._held or not size:
            return
        self._held.add(place)
        self._now += size
        self.peak = max(self.peak, self._now)
        weakref.finalize(storage, self._release, place, size)

    def _release(self, place: int, size: int) -> None:
        self._held.discard(place)
        self._now -= size
