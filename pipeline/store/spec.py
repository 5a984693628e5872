"""What a teacher store can hold: signals, their axes, their arrays and where these lie.

The rules on disk are in FORMAT.md; this file is their one implementation in code.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipeline.models.architecture import Architecture
from pipeline.store.segment_size import Part, SegmentSize
from pipeline.tasks.task import BY_TOKEN, Unit

Encoding = Literal["float32", "float16", "bfloat16", "uint8_cbrt", "int32"]
SignalName = Literal[
    "logits",
    "token_logits",
    "top_logits",
    "top_pieces",
    "log_sum_exp",
    "target_logits",
    "cls",
    "cls_moments",
    "hidden_states",
    "decoder_hidden_states",
    "attentions",
    "decoder_attentions",
    "cross_attentions",
]
Heads = Literal["all", "mean"]
"""Attention maps of every head, or one map that is their mean."""

_Counts = TypeVar("_Counts", int, NDArray[np.int64])

FORMAT_VERSION = 1

MANIFEST_NAME = "manifest.json"
GROUP_NAME = "zarr.json"
GROUP_BYTES = b'{\n  "attributes": {},\n  "zarr_format": 3,\n  "node_type": "group"\n}'
TEACHER_FOLDER = "teacher"
ROWS_FOLDER = "rows"
SIGNAL_FOLDERS = ("logits", "cls", "hidden_states", "attentions")
"""One folder, and one DVC output, per signal; an unused one is empty."""
STORE_FOLDERS = (ROWS_FOLDER, TEACHER_FOLDER, *SIGNAL_FOLDERS)

NUMPY_TYPES: dict[Encoding, np.dtype[np.generic]] = {
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "uint8_cbrt": np.dtype("u1"),
    "int32": np.dtype("<i4"),
}
"""The type in the array; numpy has no bfloat16, so its bits are stored."""
CHECKSUM_BYTES = 4
"""CRC32C behind the raw data of every chunk file."""

# Two digits, or more without a leading zero: one way to write each layer.
_LAYERED = re.compile(
    r"(?P<kind>hidden_states/|hidden_states/decoder-|attentions/|attentions/decoder-"
    r"|attentions/cross-)(?P<layer>[0-9]{2}|[1-9][0-9]{2,3})(?P<mean>-mean)?",
    re.ASCII,
)
_TOP = re.compile(r"logits/top-(?P<k>[1-9][0-9]{0,6})(?P<pieces>-pieces)?", re.ASCII)
_NAMES: dict[SignalName, str] = {
    "logits": "logits",
    "token_logits": "logits/tokens",
    "log_sum_exp": "logits/log_sum_exp",
    "target_logits": "logits/target",
    "cls": "cls",
    "cls_moments": "cls/moments",
}
"""Of the signals that have one array."""
_KINDS: dict[SignalName, str] = {
    "hidden_states": "hidden_states/",
    "decoder_hidden_states": "hidden_states/decoder-",
    "attentions": "attentions/",
    "decoder_attentions": "attentions/decoder-",
    "cross_attentions": "attentions/cross-",
}
"""What comes before the layer, of the signals that have an array for each."""
_PARTS: dict[SignalName, Part] = {
    "token_logits": "token",
    "top_logits": "target",
    "top_pieces": "target",
    "log_sum_exp": "target",
    "target_logits": "target",
    "hidden_states": "token",
    "decoder_hidden_states": "target",
    "attentions": "token_pair",
    "decoder_attentions": "target_pair",
    "cross_attentions": "cross_pair",
}


@dataclass(frozen=True, order=True)
class ArraySpec:
    """One array of every segment: a signal, or one layer of a signal with token axes."""

    signal: SignalName
    layer: int = 0
    """The layer of a signal that has one array per layer; 0 for the others."""
    heads: Heads = "all"
    """Of attention maps only."""
    k: int = 0
    """Of `top_logits` and `top_pieces` only: how many of each target's."""

    @property
    def name(self) -> str:
        """The folder, below the store, that holds this array of every segment."""
        if self.signal in ("top_logits", "top_pieces"):
            return f"logits/top-{self.k}" + ("-pieces" if self.signal == "top_pieces" else "")
        if self.has_layers:
            mean = "-mean" if self.heads == "mean" else ""
            return f"{_KINDS[self.signal]}{self.layer:02d}{mean}"
        return _NAMES[self.signal]

    @property
    def part(self) -> Part:
        """What there is a vector, or a number, of: rows, tokens, pairs of tokens, targets, ..."""
        return _PARTS.get(self.signal, "row")

    @property
    def is_ragged(self) -> bool:
        """Whether rows of other lengths have other sizes; such an array is stored flat."""
        return self.part != "row"

    @property
    def is_map(self) -> bool:
        """Whether these are attention maps: a row has matrices, not vectors."""
        return self.part in ("token_pair", "target_pair", "cross_pair")

    def sides(self, n_tokens: _Counts, n_targets: _Counts) -> tuple[_Counts, _Counts]:
        """Return how many queries and how many keys the maps of such rows have."""
        queries = n_targets if self.is_by_target else n_tokens
        return queries, n_targets if self.part == "target_pair" else n_tokens

    @property
    def is_by_target(self) -> bool:
        """Whether it exists only where word pieces are predicted."""
        return self.part in ("target", "target_pair", "cross_pair")

    @property
    def has_layers(self) -> bool:
        """Whether there is one such array for each layer that was asked for."""
        return self.signal in _KINDS

    @property
    def setting(self) -> str:
        """The part of `capture.signals` that asks for it."""
        if self.has_layers:
            return self.signal
        return self.name.split("/")[0]

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the stored axes; a ragged signal is one flat axis."""
        if self.is_ragged:
            return ("element",)
        return {
            "logits": ("row", "label"),
            "cls": ("row", "layer", "hidden"),
            "cls_moments": ("moment", "layer", "hidden"),
        }[self.signal]

    @property
    def encodings(self) -> tuple[Encoding, ...]:
        """The encodings that this array may have."""
        if self.signal == "top_pieces":
            return ("int32",)
        if self.signal in ("cls_moments", "log_sum_exp", "target_logits"):
            return ("float32",)
        if self.is_map:
            return ("float32", "float16", "bfloat16", "uint8_cbrt")
        return ("float32", "float16", "bfloat16")

    def shape(self, size: SegmentSize, teacher: Architecture) -> tuple[int, ...]:
        """Return the array's shape in a segment of that size."""
        of_part = self.part_shape(teacher)
        if self.signal == "cls_moments":
            return (2, *of_part)
        if self.is_ragged:
            return (size.count(self.part) * math.prod(of_part),)
        return (size.n_rows, *of_part)

    def part_shape(self, teacher: Architecture) -> tuple[int, ...]:
        """Return the shape of what there is of each part; () for a single number."""
        if self.signal in ("top_logits", "top_pieces"):
            return (self.k,)
        if self.signal in ("log_sum_exp", "target_logits"):
            return ()
        if self.signal in ("logits", "token_logits"):
            return (teacher.n_labels,)
        if self.signal in ("cls", "cls_moments"):
            return (teacher.n_layers + 1, teacher.hidden_size)
        return (self.n_maps(teacher),) if self.is_map else (teacher.hidden_size,)

    def n_maps(self, teacher: Architecture) -> int:
        """Return the attention maps that each row has in this array."""
        return 1 if self.heads == "mean" else teacher.n_heads

    @property
    def first_layer(self) -> int:
        """The lowest layer that has such an array."""
        return 1 if self.is_map else 0

    def last_layer(self, teacher: Architecture) -> int:
        """Return the highest layer that has such an array; -1 where the teacher has none."""
        if self.signal in ("hidden_states", "attentions"):
            return teacher.n_layers
        return -1 if teacher.n_decoder_layers is None else teacher.n_decoder_layers

    def exists_in(self, teacher: Architecture) -> bool:
        """Say whether that teacher has such a layer, or so many word pieces."""
        if self.has_layers:
            return self.first_layer <= self.layer <= self.last_layer(teacher)
        return self.k <= teacher.n_labels

    def size_bytes(self, size: SegmentSize, teacher: Architecture, encoding: Encoding) -> int:
        """Return the size of the array's raw data, without checksum and metadata."""
        return math.prod(self.shape(size, teacher)) * NUMPY_TYPES[encoding].itemsize


LOGITS = ArraySpec("logits")
TOKEN_LOGITS = ArraySpec("token_logits")
LOG_SUM_EXP = ArraySpec("log_sum_exp")
TARGET_LOGITS = ArraySpec("target_logits")
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
    for signal, own_name in _NAMES.items():
        if name == own_name:
            return ArraySpec(signal)
    top = _TOP.fullmatch(name)
    if top is not None:
        return ArraySpec("top_pieces" if top["pieces"] else "top_logits", k=int(top["k"]))
    match = _LAYERED.fullmatch(name)
    if match is not None:
        signal = next(signal for signal, kind in _KINDS.items() if kind == match["kind"])
        array = ArraySpec(signal, int(match["layer"]), "mean" if match["mean"] else "all")
        if array.layer >= array.first_layer and (array.is_map or array.heads == "all"):
            return array
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
