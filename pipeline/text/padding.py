"""Rows of different lengths as one rectangular batch."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

TokenRow = tuple[NDArray[np.int32], NDArray[np.int32]]
"""Token ids and type ids of one example, each (token,)."""


def pad_rows(
    rows: Sequence[TokenRow], pad_id: int, *, has_token_types: bool
) -> dict[str, Int[Tensor, "batch token"]]:
    """Return `input_ids`, `attention_mask` and, where the model reads them, `token_type_ids`.

    The batch is as long as its longest row; the mask is 1 on real tokens.
    """
    longest = max(len(ids) for ids, _ in rows)
    input_ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    type_ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, (ids, types) in enumerate(rows):
        input_ids[index, : len(ids)] = ids
        type_ids[index, : len(ids)] = types
        mask[index, : len(ids)] = 1
    inputs = {"input_ids": input_ids, "attention_mask": mask}
    if has_token_types:
        inputs["token_type_ids"] = type_ids
    return {name: torch.from_numpy(array) for name, array in inputs.items()}
