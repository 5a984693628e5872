"""Digests that are equal when, and only when, the things are the same.

Content digests (SHA-256, hex) say what a result was made from. Row keys (BLAKE2b,
128 bits) name an example by what the teacher saw of it, whatever file or position
it came from.
"""

import hashlib
import json
import mmap
import struct
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

KEY_BYTES = 16

# Written by the library or the machine, without influence on what a model computes.
_VOLATILE_CONFIG = frozenset(
    {"_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures"}
)


def digest_json(value: Any) -> str:
    """Return the digest of a JSON value, independent of key order and spacing."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def digest_file(path: Path) -> str:
    """Return the digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path, *, without: Iterable[str] = ()) -> dict[str, str]:
    """Return the digest of every file under `folder` by its relative path."""
    skipped = set(without)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    return {name: digest_file(path) for name, path in names.items() if name not in skipped}


def row_key(
    input_ids: NDArray[np.integer],
    token_type_ids: NDArray[np.integer],
    *asked: NDArray[np.integer],
) -> bytes:
    """Return the 16-byte key of one example: BLAKE2b-128 of what the teacher saw.

    The hashed bytes are the number of tokens, the token ids and the type ids, each
    as little-endian int32. Where word pieces are asked for, `asked` follows, each part behind
    its length.
    """
    parts: list[Sequence[int] | NDArray[np.integer]] = [[len(input_ids)], input_ids, token_type_ids]
    for part in asked:
        parts += [[len(part)], part]
    content = np.concatenate(parts).astype("<i4")
    return hashlib.blake2b(content.tobytes(), digest_size=KEY_BYTES).digest()


def digest_tokenizer(tokenizer: "PreTrainedTokenizerFast") -> str:
    """Return the digest of what a fast tokenizer does to a text.

    Truncation and padding are left out: they are the caller's, and change with every call.
    """
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    for call_state in ("truncation", "padding"):
        rules.pop(call_state, None)
    return digest_json(rules)


def digest_weights(checkpoint: Path) -> str:
    """Return the digest of a checkpoint's tensors: names, types, shapes, bytes.

    It does not depend on how many files hold them, on their order or on metadata.

    Raises:
        CheckpointError: the folder holds no safetensors file, or a broken one.
    """
    files = sorted(checkpoint.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{checkpoint} holds no .safetensors file. Save the model with "
            "save_pretrained; pickled weights are not read."
        )
    tensors: dict[str, str] = {}
    for path in files:
        tensors.update(_digest_tensors(path))
    return digest_json(tensors)


def _digest_tensors(path: Path) -> dict[str, str]:
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            (header_size,) = struct.unpack("<Q", content[:8])
            header = dict(json.loads(content[8 : 8 + header_size]))
            digests = {}
            for name, entry in header.items():
                if name == "__metadata__":
                    continue
                begin, end = (8 + header_size + offset for offset in entry["data_offsets"])
                if end > len(content):
                    raise ValueError(f"it ends before the end of tensor {name}")
                digest = hashlib.sha256(f"{entry['dtype']}{entry['shape']}".encode())
                digest.update(content[begin:end])
                digests[name] = digest.hexdigest()
            if not digests:
                raise ValueError("it holds no tensor")
            return digests
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def digest_config(config: Mapping[str, Any]) -> str:
    """Return the digest of a model config, without what does not change its numbers."""
    return digest_json({key: config[key] for key in config if key not in _VOLATILE_CONFIG})
