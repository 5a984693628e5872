"""How a signal's numbers are stored, and the refusal to store what does not fit.

`uint8_cbrt` is for probabilities p: code = round(255 p^(1/3)), p' = (code / 255)^3,
and every row of a map is divided by its sum once decoded. With d = 1/510, half a step
of the code, |p' - p| <= 3 d p^(2/3) + 3 d^2 p^(1/3) + d^3 before that division: at
most 0.0059, and small where p is small, which a linear code is not.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Int, Shaped
from numpy.typing import NDArray
from torch import Tensor

from pipeline.signals.signal import Encoding

TORCH_TYPES: dict[Encoding, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "uint8_cbrt": torch.uint8,
    "int32": torch.int32,
}

# Probabilities are rounded to the forward's precision, of 8 bits with bfloat16, and to 1.
_LARGEST_PROBABILITY = 1 + 2.0**-7


def encode(values: Tensor, encoding: Encoding) -> Tensor:
    """Return `values` in the type of `encoding`, on the device they are on.

    What does not fit comes out as it comes; `fits` tells.
    """
    if encoding == "uint8_cbrt":
        return values.float().clamp(0, 1).pow(1 / 3).mul_(255).round_().to(torch.uint8)
    return values.to(TORCH_TYPES[encoding])


def largest(encoding: Encoding) -> float:
    """Return the largest absolute value that the encoding can represent."""
    if encoding == "uint8_cbrt":
        return _LARGEST_PROBABILITY
    if encoding == "int32":
        return float(torch.iinfo(torch.int32).max)
    return float(torch.finfo(TORCH_TYPES[encoding]).max)


def fits(values: Tensor, encoding: Encoding) -> Tensor:
    """Say, as a boolean tensor on the device, whether every value is finite and represented.

    One pass without a temporary; a value that is not a number is carried into both ends.
    """
    if not values.numel():
        return torch.ones((), dtype=torch.bool, device=values.device)
    lowest, highest = torch.aminmax(values)
    limit = largest(encoding)
    least = 0 if encoding in ("uint8_cbrt", "int32") else -limit
    return (lowest >= least) & (highest <= limit)


def as_numpy(encoded: Tensor) -> NDArray[np.generic]:
    """Return encoded values on the CPU as the numpy type they are stored in."""
    if encoded.dtype == torch.bfloat16:
        encoded = encoded.view(torch.uint16)
    array: NDArray[np.generic] = encoded.numpy()
    return array


def as_tensor(stored: NDArray[np.generic], encoding: Encoding) -> Tensor:
    """Return stored values as a tensor over the same memory."""
    values = torch.from_numpy(stored)
    return values.view(torch.bfloat16) if encoding == "bfloat16" else values


def decode(
    values: Tensor, encoding: Encoding, map_lengths: Int[Tensor, " map_row"] | None = None
) -> Shaped[Tensor, "..."]:
    """Return stored values as float32, word pieces as int64, on the device they are on.

    `map_lengths` is needed for `uint8_cbrt`: the number of keys in each consecutive row
    of the flat attention maps, which then sums to 1.
    """
    if encoding == "int32":
        return values.long()
    if encoding != "uint8_cbrt":
        return values.float()
    assert map_lengths is not None
    probabilities = values.float().div_(255).pow_(3)
    row = torch.repeat_interleave(map_lengths, output_size=len(values))
    sums = torch.zeros(len(map_lengths), device=values.device).index_add_(0, row, probabilities)
    return probabilities.div_(sums[row])


@dataclass(frozen=True)
class StoredSignal:
    """One array's values for a batch of rows, as they are stored."""

    values: Tensor
    """(row, ...); (token, ...) or (target, ...) row after row; for attention maps flat, row after
    row."""
    encoding: Encoding
    map_lengths: Int[Tensor, " map_row"] | None = None
    """Keys of each consecutive row of the attention maps; of `uint8_cbrt` only."""

    def pin(self) -> "StoredSignal":
        """Return the values in pinned memory, from which a device copies by itself."""
        lengths = self.map_lengths
        return replace(
            self,
            values=self.values.pin_memory(),
            map_lengths=None if lengths is None else lengths.pin_memory(),
        )

    def to(self, device: torch.device) -> "StoredSignal":
        """Return the values on a device, still encoded."""
        lengths = self.map_lengths
        return replace(
            self,
            values=self.values.to(device, non_blocking=True),
            map_lengths=None if lengths is None else lengths.to(device, non_blocking=True),
        )

    def decode(self) -> Shaped[Tensor, "..."]:
        """Return the values as float32, word pieces as int64, on the device they are on."""
        return decode(self.values, self.encoding, self.map_lengths)
