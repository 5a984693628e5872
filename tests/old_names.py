"""Checkpoints whose tensors have other names, shapes or files than Transformers writes today."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

WEIGHTS = "model.safetensors"


def rename(folder: Path, new_name: Callable[[str], str]) -> Path:
    """Give the tensors of all weight files other names."""
    files = sorted(folder.glob("*.safetensors"))
    assert files
    for path in files:
        tensors = load_file(path)
        save_file({new_name(name): values for name, values in tensors.items()}, path)
    index = folder / f"{WEIGHTS}.index.json"
    if index.is_file():
        told = json.loads(index.read_text(encoding="utf-8"))
        places = {new_name(name): path for name, path in told["weight_map"].items()}
        index.write_text(json.dumps(told | {"weight_map": places}), encoding="utf-8")
    return folder


def to_old_name(name: str) -> str:
    """Return what TensorFlow's checkpoints, and those converted from them, call a tensor."""
    return name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
        "LayerNorm.bias", "LayerNorm.beta"
    )


def change_tensors(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> Path:
    """Change the tensors of a checkpoint of one file in place."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return folder


def change_config(folder: Path, **changes: Any) -> Path:
    """Change the values of a checkpoint's config.json; one that is None is taken out."""
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in config.items() if value is not None}
    path.write_text(json.dumps(kept), encoding="utf-8")
    return folder


def copy_of(folder: Path, at: Path) -> Path:
    """Copy a checkpoint, to change it there."""
    return Path(shutil.copytree(folder, at))
