"""What a store gives for a batch: values as they are stored, to be decoded where they are used."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Int, Shaped
from torch import Tensor

from pipeline.store.encoding import decode
from pipeline.store.spec import Encoding


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
