"""What a teacher store can hold: signals, their axes, their arrays and where these lie.

The rules on disk are in FORMAT.md; this file is their one implementation in code.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from pipeline.architecture import Architecture
from pipeline.tasks.task import BY_TOKEN, Unit

Encoding = Literal["float32", "float16", "bfloat16", "uint8_cbrt"]
SignalName = Literal["logits", "token_logits", "cls", "cls_moments", "hidden_states", "attentions"]
Heads = Literal["all", "mean"]
"""Attention maps of every head, or one map that is their mean."""

FORMAT_VERSION = 1

MANIFEST_NAME = "manifest.json"
GROUP_NAME = "zarr.json"
GROUP_BYTES = b'{\n  "attributes": {},\n  "zarr_format": 3,\n  "node_type": "group"\n}'
TEACHER_FOLDER = "teacher"
ROWS_FOLDER = "rows"
SIGNAL_FOLDERS = ("logits", "cls", "hidden_states", "attentions")
"""One folder, and one DVC output, per signal; an unused one is empty."""
STORE_FOLDERS = (ROWS_FOLDER, TEACHER_FOLDER, *SIGNAL_FOLDERS)

ITEM_BYTES: dict[Encoding, int] = {"float32": 4, "float16": 2, "bfloat16": 2, "uint8_cbrt": 1}
CHECKSUM_BYTES = 4
"""CRC32C behind the raw data of every chunk file."""

# Two digits, or more without a leading zero: one way to write each layer.
_LAYERED = re.compile(
    r"(?P<signal>hidden_states|attentions)/(?P<layer>[0-9]{2}|[1-9][0-9]{2,3})(?P<mean>-mean)?",
    re.ASCII,
)


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
    heads: Heads = "all"
    """Of attention maps only."""

    @property
    def name(self) -> str:
        """The folder, below the store, that holds this array of every segment."""
        if self.signal == "cls_moments":
            return "cls/moments"
        if self.signal == "token_logits":
            return "logits/tokens"
        if self.has_layers:
            return f"{self.signal}/{self.layer:02d}" + ("-mean" if self.heads == "mean" else "")
        return self.signal

    @property
    def is_ragged(self) -> bool:
        """Whether rows of other lengths have other sizes; such an array is stored flat."""
        return self.signal in ("token_logits", "hidden_states", "attentions")

    @property
    def is_by_token(self) -> bool:
        """Whether a row has as many vectors as tokens."""
        return self.signal in ("token_logits", "hidden_states")

    @property
    def has_layers(self) -> bool:
        """Whether there is one such array for each layer that was asked for."""
        return self.signal in ("hidden_states", "attentions")

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the stored axes; a ragged signal is one flat axis."""
        return {
            "logits": ("row", "label"),
            "token_logits": ("element",),
            "cls": ("row", "layer", "hidden"),
            "cls_moments": ("moment", "layer", "hidden"),
            "hidden_states": ("element",),
            "attentions": ("element",),
        }[self.signal]

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """The encodings that this array may have."""
        if self.signal == "cls_moments":
            return ("float32",)
        if self.signal == "attentions":
            return ("float32", "float16", "bfloat16", "uint8_cbrt")
        return ("float32", "float16", "bfloat16")

    def shape(self, size: SegmentSize, teacher: Architecture) -> tuple[int, ...]:
        """Return the array's shape in a segment of that size."""
        n_states = teacher.n_layers + 1
        return {
            "logits": (size.n_rows, teacher.n_labels),
            "token_logits": (size.n_tokens * teacher.n_labels,),
            "cls": (size.n_rows, n_states, teacher.hidden_size),
            "cls_moments": (2, n_states, teacher.hidden_size),
            "hidden_states": (size.n_tokens * teacher.hidden_size,),
            "attentions": (self.n_maps(teacher) * size.n_token_pairs,),
        }[self.signal]

    def n_maps(self, teacher: Architecture) -> int:
        """Return the attention maps that each row has in this array."""
        return 1 if self.heads == "mean" else teacher.n_heads

    @property
    def first_layer(self) -> int:
        """The lowest layer that has such an array."""
        return 1 if self.signal == "attentions" else 0

    def exists_in(self, teacher: Architecture) -> bool:
        """Say whether that teacher has such a layer."""
        return not self.has_layers or self.first_layer <= self.layer <= teacher.n_layers

    def size_bytes(self, size: SegmentSize, teacher: Architecture, encoding: Encoding) -> int:
        """Return the size of the array's raw data, without checksum and metadata."""
        return math.prod(self.shape(size, teacher)) * ITEM_BYTES[encoding]


LOGITS = ArraySpec("logits")
TOKEN_LOGITS = ArraySpec("token_logits")
CLS = ArraySpec("cls")
CLS_MOMENTS = ArraySpec("cls_moments")


def logits_array(predicts: Unit) -> ArraySpec:
    """Return the array that holds the logits of a task that predicts this."""
    return TOKEN_LOGITS if predicts in BY_TOKEN else LOGITS


Arrays = dict[ArraySpec, Encoding]
"""Arrays, and how each is stored."""


def with_moments(arrays: Arrays) -> Arrays:
    """Return `arrays` with the moments of [CLS], which go wherever [CLS] goes."""
    return {**arrays, CLS_MOMENTS: "float32"} if CLS in arrays else dict(arrays)


def parse_array_name(name: str) -> ArraySpec:
    """Return the array that a manifest names.

    Raises:
        ValueError: no such array in this format version.
    """
    plain = {array.name: array for array in (LOGITS, TOKEN_LOGITS, CLS, CLS_MOMENTS)}
    if name in plain:
        return plain[name]
    match = _LAYERED.fullmatch(name)
    if match is not None:
        layer, is_mean = int(match["layer"]), match["mean"] is not None
        if match["signal"] == "hidden_states" and not is_mean:
            return ArraySpec("hidden_states", layer)
        if match["signal"] == "attentions" and layer > 0:
            return ArraySpec("attentions", layer, "mean" if is_mean else "all")
    raise ValueError(f"'{name}' is not an array of format version {FORMAT_VERSION}")


def array_folder(array: ArraySpec, segment: str) -> str:
    """Return the folder of one array of one segment, relative to the store."""
    return f"{array.name}/{segment}"


def metadata_file(array: ArraySpec, segment: str) -> str:
    """Return the file with that array's Zarr metadata, relative to the store."""
    return f"{array_folder(array, segment)}/zarr.json"


def chunk_file(array: ArraySpec, segment: str) -> str:
    """Return the file with that array's single chunk, relative to the store."""
    return f"{array_folder(array, segment)}/c/" + "/".join("0" for _ in array.axes)


def rows_file(segment: str) -> str:
    """Return a segment's row table, relative to the store."""
    return f"{ROWS_FOLDER}/{segment}.arrow"


def group_folders(arrays: Iterable[ArraySpec]) -> set[str]:
    """Return every folder above these arrays that is a Zarr group, without the store's own."""
    parts = [array.name.split("/") for array in arrays]
    return {"/".join(part[:depth]) for part in parts for depth in range(1, len(part) + 1)}
