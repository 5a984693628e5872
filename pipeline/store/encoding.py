"""How a signal's numbers are stored, and the refusal to store what does not fit."""

import numpy as np
import torch
from torch import Tensor

from pipeline.errors import SignalError
from pipeline.store.spec import Encoding

TORCH_TYPES: dict[Encoding, torch.dtype] = {"float32": torch.float32, "float16": torch.float16}
NUMPY_TYPES: dict[Encoding, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
}


def encode(values: Tensor, encoding: Encoding, place: str) -> Tensor:
    """Return `values` in the type of `encoding`, on the device they are on.

    `place` names the values in an error, such as `attentions of layer 4`.

    Raises:
        SignalError: a value is not finite, or too large for the encoding.
    """
    stored = values.to(TORCH_TYPES[encoding])
    is_bad = ~torch.isfinite(stored)
    if not is_bad.any():
        return stored
    n_bad = int(is_bad.sum())
    n_not_finite = int((~torch.isfinite(values)).sum())
    if n_not_finite:
        raise SignalError(
            f"{place}: {n_not_finite} values are not finite. The teacher diverged; check its "
            "checkpoint, or capture with precision float32."
        )
    largest = float(values.abs().max())
    limit = torch.finfo(stored.dtype).max
    raise SignalError(
        f"{place}: {n_bad} values overflow {encoding} (largest {largest:,.0f}; limit "
        f"{limit:,.0f}). Store this signal as float32."
    )
