"""The [CLS] state: what a model's classification head reads of its token states."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from pipeline.models.architecture import HeadReads


def cls_state(
    states: Float[Tensor, "batch token hidden"],
    input_ids: Int[Tensor, "batch token"],
    mask: Int[Tensor, "batch token"],
    reads: HeadReads,
    pad_id: int,
) -> Float[Tensor, "batch hidden"]:
    """Return the state that the head reads, of one layer; `mask` is 1 on real tokens."""
    if reads == "first":
        return states[:, 0]
    if reads == "mean":
        return (states * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    # As Transformers' heads find it: the last token of another id than the padding's.
    positions = torch.arange(input_ids.shape[1], device=input_ids.device)
    last = (positions * (input_ids != pad_id)).argmax(1)
    return states[torch.arange(len(states), device=states.device), last]
