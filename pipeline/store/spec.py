"""What a teacher store can hold: signals, their axes, their arrays and where these lie.

The rules on disk are in FORMAT.md; this file is their one implementation in code.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

from pipeline.architecture import Architecture

Encoding = Literal["float32", "float16"]
SignalName = Literal["logits", "cls", "attentions"]

FORMAT_VERSION = 1

MANIFEST_NAME = "manifest.json"
GROUP_NAME = "zarr.json"
GROUP_BYTES = b'{\n  "attributes": {},\n  "zarr_format": 3,\n  "node_type": "group"\n}'
TEACHER_FOLDER = "teacher"
ROWS_FOLDER = "rows"
SIGNAL_FOLDERS = ("logits", "cls", "hidden_states", "attentions")
"""One folder, and one DVC output, per signal; an unused one is empty."""


# Two digits, or more without a leading zero: one way to write each layer.
_LAYER = re.compile(r"0[1-9]|[1-9][0-9]{1,3}", re.ASCII)


@dataclass(frozen=True)
class SegmentSize:
    """The lengths of a segment's rows, as far as array sizes depend on them."""

    n_rows: int
    n_tokens: int
    """Sum of the rows' lengths."""
    n_token_pairs: int
    """Sum of the squares of the rows' lengths."""


@dataclass(frozen=True, order=True)
class ArraySpec:
    """One array of every segment: a signal, or one layer of a signal with token axes."""

    signal: SignalName
    layer: int = 0
    """The layer of a signal that has one array per layer; 0 for the others."""

    @property
    def name(self) -> str:
        """The folder, below the store, that holds this array of every segment."""
        return f"{self.signal}/{self.layer:02d}" if self.signal == "attentions" else self.signal

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the stored axes; a ragged signal is one flat axis."""
        return {
            "logits": ("row", "label"),
            "cls": ("row", "layer", "hidden"),
            "attentions": ("element",),
        }[self.signal]

    def shape(self, size: SegmentSize, teacher: Architecture) -> tuple[int, ...]:
        """Return the array's shape in a segment of that size."""
        if self.signal == "logits":
            return (size.n_rows, teacher.n_labels)
        if self.signal == "cls":
            return (size.n_rows, teacher.n_layers + 1, teacher.hidden_size)
        return (teacher.n_heads * size.n_token_pairs,)

    def size_bytes(self, size: SegmentSize, teacher: Architecture, encoding: Encoding) -> int:
        """Return the size of the array's raw data, without checksum and metadata."""
        return math.prod(self.shape(size, teacher)) * ITEM_BYTES[encoding]


ITEM_BYTES: dict[Encoding, int] = {"float32": 4, "float16": 2}


def parse_array_name(name: str) -> ArraySpec:
    """Return the array that a manifest names.

    Raises:
        ValueError: no such array in this format version.
    """
    if name == "logits":
        return ArraySpec("logits")
    if name == "cls":
        return ArraySpec("cls")
    signal, _, layer = name.partition("/")
    if signal == "attentions" and _LAYER.fullmatch(layer):
        return ArraySpec("attentions", int(layer))
    raise ValueError(f"'{name}' is not an array of format version {FORMAT_VERSION}")


def array_folder(array: ArraySpec, segment: str) -> str:
    """Return the folder of one array of one segment, relative to the store."""
    return f"{array.name}/{segment}"


def chunk_file(array: ArraySpec, segment: str) -> str:
    """Return the file with that array's single chunk, relative to the store."""
    return f"{array_folder(array, segment)}/c/" + "/".join("0" for _ in array.axes)


def rows_file(segment: str) -> str:
    """Return a segment's row table, relative to the store."""
    return f"{ROWS_FOLDER}/{segment}.arrow"
