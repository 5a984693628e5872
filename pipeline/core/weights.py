"""Which tensors a checkpoint's files hold, from their headers: no weight is read.

See the safetensors README (Format): 8 bytes of header size, a JSON header, then the data.
"""

import json
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import CheckpointError

WEIGHTS_NAME = "model.safetensors"
INDEX_NAME = "model.safetensors.index.json"
"""Names the file of each tensor where several hold them."""

Shape = tuple[int, ...]

_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_LFS_POINTER = b"version https://git-lfs"
_LARGEST_HEADER_BYTES = 100_000_000  # safetensors' own limit


def read_shapes(checkpoint: Path) -> dict[str, Shape]:
    """Return the shapes of a checkpoint's tensors by name, of all files that are loaded.

    Raises:
        CheckpointError: there is no safetensors file, one that the index names is missing or
            lacks a tensor, or one is broken.
    """
    if (checkpoint / WEIGHTS_NAME).is_file():
        return _read_header(checkpoint / WEIGHTS_NAME)
    index = checkpoint / INDEX_NAME
    if not index.is_file():
        raise CheckpointError(_without_weights(checkpoint))
    try:
        places = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(places.values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{index} is not an index of weights: {error!r}") from error
    shapes: dict[str, Shape] = {}
    for shard in shards:
        if not (checkpoint / shard).is_file():
            raise CheckpointError(
                f"{checkpoint} lacks {shard}, one of {len(shards)} files that {INDEX_NAME} names. "
                "Copy it there."
            )
        shapes |= _read_header(checkpoint / shard)
    lost = sorted(places.keys() - shapes.keys())
    if lost:
        raise CheckpointError(
            f"{checkpoint / places[lost[0]]} lacks {some_of(lost)}, which {INDEX_NAME} says it "
            "holds. Copy the checkpoint again."
        )
    return shapes


def _read_header(path: Path) -> dict[str, Shape]:
    with path.open("rb") as file:
        if file.read(len(_LFS_POINTER)) == _LFS_POINTER:
            raise CheckpointError(
                f"{path} is a pointer of Git LFS, not the weights. Run 'git lfs pull' where it "
                "was cloned."
            )
        try:
            file.seek(0)
            (size,) = struct.unpack("<Q", file.read(8))
            if size > _LARGEST_HEADER_BYTES:
                raise ValueError(f"its header would have {size:,} bytes")
            header = dict(json.loads(file.read(size)))
            header.pop("__metadata__", None)
            ends = [8 + size + int(entry["data_offsets"][1]) for entry in header.values()]
            shapes = {name: tuple(entry["shape"]) for name, entry in header.items()}
        except (struct.error, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(
                f"{path} is not a safetensors file: {error}. Copy it again."
            ) from error
        found = os.fstat(file.fileno()).st_size
    if not shapes:
        raise CheckpointError(f"{path} holds no tensor. Name a checkpoint with weights.")
    if found < max(ends):
        raise CheckpointError(
            f"{path} has {found:,} bytes, and its header says {max(ends):,}. Copy it again."
        )
    return shapes


def _without_weights(checkpoint: Path) -> str:
    others = sorted(path.name for path in checkpoint.iterdir() if path.suffix in _PICKLED)
    if others:
        return (
            f"{checkpoint} holds its weights only pickled ({some_of(others)}), which may run code "
            "when they are read and are never loaded here. Save them once more with "
            "save_pretrained, which writes model.safetensors, where you trust them."
        )
    if (checkpoint / "adapter_config.json").is_file():
        return (
            f"{checkpoint} holds an adapter and not the model. Merge them (peft's "
            "merge_and_unload) and save the model with save_pretrained."
        )
    return f"{checkpoint} holds no {WEIGHTS_NAME}. Save the model there with save_pretrained."


def some_of(names: Sequence[str], n_shown: int = 3) -> str:
    """Return some names and how many there are beyond them."""
    more = f" and {len(names) - n_shown} more" if len(names) > n_shown else ""
    return ", ".join(names[:n_shown]) + more
