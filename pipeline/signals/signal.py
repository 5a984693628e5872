"""What a signal is: one named tensor of a model's forward, and everything that is said of it.

A `Signal` is one record in the table `SIGNALS`. Settings, store, extraction, objectives and the
public reader know signals by nothing else, so that a new one is a record and its line there. An
`Array` is a signal, or one layer of it, as a store holds it or a model gives it.

Nothing here needs torch: only taking a signal from a forward does.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.core.settings import Section
from pipeline.models.architecture import Architecture
from pipeline.signals.axis import Axis, SegmentSize
from pipeline.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor

    from pipeline.models.attention import AttentionKind
    from pipeline.models.probe import Forward

Encoding = Literal["float32", "float16", "bfloat16", "uint8_cbrt", "int32"]
StateEncoding = Literal["float32", "float16", "bfloat16"]
STATE_ENCODINGS: tuple[Encoding, ...] = ("float32", "float16", "bfloat16")
Heads = Literal["all", "mean"]
"""Attention maps of every head, or one map that is their mean."""
NO_LAYER = -1
Stack = Literal["encoder", "decoder"]
"""`encoder` is the only stack of layers of a model without a decoder beside it."""

NUMPY_TYPES: dict[Encoding, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "uint8_cbrt": np.dtype("u1"),
    "int32": np.dtype("<i4"),
}
"""The type in the array; numpy has no bfloat16, so its bits are stored."""

# How the fields of an array's name are read: a layer has two digits, or more without a leading
# zero, so that there is one way to write each.
_FIELDS = {
    "{layer}": "(?P<layer>[0-9]{2}|[1-9][0-9]{2,3})",
    "{mean}": "(?P<mean>-mean)?",
    "{k}": "(?P<k>[1-9][0-9]{0,6})",
}


def _number(array: Array, model: Architecture) -> tuple[int, ...]:
    return ()


@dataclass(frozen=True, order=True)
class Signal:
    """One signal; two of the same name are equal."""

    name: str
    """The one name: in params.yaml, objectives, errors and logs."""
    called: str = field(compare=False)
    """What messages call its values, in the plural."""
    axis: Axis = field(compare=False)
    take: Callable[[Forward, Array], Tensor] = field(compare=False, repr=False)
    """Gives an array of it from a forward, padded, on the model's device."""
    width: Callable[[Array, Architecture], tuple[int, ...]] = field(
        compare=False, repr=False, default=_number
    )
    """The shape of what there is of each row, token, ...; () for a single number."""
    width_axes: tuple[str, ...] = field(compare=False, repr=False, default=())
    """The names of these axes in the arrays of signals that are not ragged."""
    array_name: str = field(compare=False, repr=False, default="")
    """The folder, below a store, that holds such an array of every segment, with the fields
    {layer}, {mean} (of attention heads) and {k}. Empty where no store holds it."""
    encodings: tuple[Encoding, ...] = field(compare=False, repr=False, default=STATE_ENCODINGS)
    """The encodings that its arrays may have."""
    stack: Stack | None = field(compare=False, repr=False, default=None)
    """Whose layers it is of; None where it is of no layer."""
    first_layer: int = field(compare=False, repr=False, default=0)
    """The lowest layer that has it; 0 is the embedding output."""
    is_of_states: bool = field(compare=False, repr=False, default=False)
    """Whether it is taken from the states of a model's layers."""
    attention: AttentionKind | None = field(compare=False, repr=False, default=None)
    """Whose attention maps it is, if any."""
    settings: type[SignalSettings] | None = field(compare=False, repr=False, default=None)
    """Its part of `capture.signals`; None where it comes along with another signal."""
    captured: Literal["always", "by default", "if named"] = field(
        compare=False, repr=False, default="if named"
    )
    """Whether `capture.signals` may set it to null, and whether it does unless it is named."""

    @property
    def has_layers(self) -> bool:
        """Whether each layer has an array of its own."""
        return "{layer}" in self.array_name

    def last_layer(self, model: Architecture) -> int:
        """Return the highest layer that has it; -1 where the model has no such stack."""
        n_layers = model.n_decoder_layers if self.stack == "decoder" else model.n_layers
        return -1 if n_layers is None else n_layers

    def parse(self, name: str) -> Array | None:
        """Return the array that a store calls so; None where it is not one of this signal."""
        match = self._name_pattern.fullmatch(name)
        if match is None:
            return None
        found: dict[str, Any] = match.groupdict()
        layer = int(found["layer"]) if self.has_layers else NO_LAYER
        if self.has_layers and layer < self.first_layer:
            return None
        return Array(self, layer, "mean" if found.get("mean") else "all", int(found.get("k", 0)))

    @cached_property
    def _name_pattern(self) -> re.Pattern[str]:
        parts = re.split(r"({\w+})", self.array_name)
        pattern = "".join(_FIELDS.get(part, re.escape(part)) for part in parts)
        return re.compile(pattern, re.ASCII)


@dataclass(frozen=True, order=True)
class Array:
    """A signal, or one layer of it: what a store has of every segment, or a model of a batch."""

    signal: Signal
    layer: int = NO_LAYER
    """`NO_LAYER` where there is one array of all layers, or of none."""
    heads: Heads = "all"
    """Attention maps only."""
    k: int = 0
    """Top-k logits only: how many of each target are kept."""

    @property
    def name(self) -> str:
        """The folder, below a store, that holds this array of every segment."""
        mean = "-mean" if self.heads == "mean" else ""
        return self.signal.array_name.format(layer=f"{self.layer:02d}", mean=mean, k=self.k)

    @property
    def axis(self) -> Axis:
        """What there is a vector, or a number, of."""
        return self.signal.axis

    @property
    def setting(self) -> str:
        """The part of `capture.signals` that asks for it."""
        return self.signal.name if self.signal.settings else self.name.split("/")[0]

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Names of the stored axes; a ragged signal is one flat axis."""
        if self.axis.is_ragged:
            return ("element",)
        return (*(("row",) if self.axis == Axis.ROW else ()), *self.signal.width_axes)

    def shape(self, size: SegmentSize, teacher: Architecture) -> tuple[int, ...]:
        """Return the array's shape in a segment of that size."""
        width = self.width(teacher)
        if self.axis == Axis.SEGMENT:
            return width
        count = size.count(self.axis)
        return (count * math.prod(width),) if self.axis.is_ragged else (count, *width)

    def width(self, model: Architecture) -> tuple[int, ...]:
        """Return the shape of what there is of each row, token, ...; () for a single number."""
        return self.signal.width(self, model)

    def exists_in(self, teacher: Architecture) -> bool:
        """Say whether that teacher has such a layer, or so large a vocabulary."""
        if self.signal.has_layers:
            return self.signal.first_layer <= self.layer <= self.signal.last_layer(teacher)
        return self.k <= teacher.n_labels

    def size_bytes(self, size: SegmentSize, teacher: Architecture, encoding: Encoding) -> int:
        """Return the size of the array's raw data, without checksum and metadata."""
        return math.prod(self.shape(size, teacher)) * NUMPY_TYPES[encoding].itemsize

    def take(self, forward: Forward) -> Tensor:
        """Return it from a forward, padded to the longest row, on the model's device."""
        return self.signal.take(forward, self)


Arrays = dict[Array, Encoding]
"""Arrays, and how each is stored."""


class SignalSettings(Section, ABC):
    """One signal's part of `capture.signals`."""

    encoding: Encoding

    @abstractmethod
    def arrays(self, signal: Signal, task: Task) -> Arrays:
        """Return the arrays that these settings of `signal` ask for."""

    def faults(
        self, signal: Signal, task: Task, teacher: Architecture, *, is_default: bool
    ) -> list[str]:
        """Return a line for all that cannot be captured of this teacher, or for this task.

        `is_default` says that nobody chose these settings.
        """
        return []


class LayerSettings(SignalSettings):
    """Settings of a signal that has an array for each layer."""

    layers: tuple[int, ...] = Field(min_length=1)
    """The signal's first layer (0 is the embedding output) to the teacher's number of layers."""

    def arrays(self, signal: Signal, task: Task) -> Arrays:
        """Return one array for each layer, in their order."""
        return {self._array(signal, layer): self.encoding for layer in sorted(set(self.layers))}

    def _array(self, signal: Signal, layer: int) -> Array:
        return Array(signal, layer)

    def faults(
        self, signal: Signal, task: Task, teacher: Architecture, *, is_default: bool
    ) -> list[str]:
        """Refuse layers that the teacher does not have."""
        last = signal.last_layer(teacher)
        if last < 0:
            return [
                f"capture.signals.{signal.name}: the teacher ({teacher.model_type}) has no "
                "decoder. Leave it out."
            ]
        return [
            f"capture.signals.{signal.name}.layers: layer {layer} does not exist, the teacher has "
            f"layers {signal.first_layer} to {last}"
            for layer in sorted(set(self.layers))
            if not signal.first_layer <= layer <= last
        ]
