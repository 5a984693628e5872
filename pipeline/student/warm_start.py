"""A student's first weights, taken tensor by tensor from the teacher's in the store."""

import re
from pathlib import Path
from typing import Literal

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from pipeline.errors import CheckpointError, SettingsError

NamedStart = Literal["first", "every", "none"]

# The layer's number in a parameter name: encoder.layer.3.output, transformer.layer.3.ffn
_LAYER = re.compile(r"(?<=\.layer\.)(\d+)(?=\.)")


def teacher_layers(
    warm_start: NamedStart | tuple[int, ...], n_student: int, n_teacher: int
) -> list[int]:
    """Return the teacher layer (1 to `n_teacher`) each student layer starts from, in order.

    `first` is 1..M, `every` floor(j N / M) for j = 1..M; `none` gives an empty list.

    Raises:
        SettingsError: the teacher has no such layer, or the list has another length.
    """
    if warm_start == "none":
        return []
    if isinstance(warm_start, str) and n_student > n_teacher:
        raise SettingsError(
            [
                f"warm_start '{warm_start}' needs {n_student} teacher layers, the teacher has "
                f"{n_teacher}; use fewer layers, a list, or none"
            ]
        )
    if warm_start == "first":
        return list(range(1, n_student + 1))
    if warm_start == "every":
        return [layer * n_teacher // n_student for layer in range(1, n_student + 1)]
    layers = list(warm_start)
    outside = [layer for layer in layers if not 1 <= layer <= n_teacher]
    if outside or len(layers) != n_student:
        raise SettingsError(
            [
                f"warm_start lists teacher layers {', '.join(map(str, layers))} for a student of "
                f"{n_student} layers; give {n_student} numbers from 1 to {n_teacher}"
            ]
        )
    return layers


def copy_teacher_layers(student: PreTrainedModel, teacher_folder: Path, layers: list[int]) -> None:
    """Copy embeddings, head and the teacher's `layers`, in order, into the student.

    Raises:
        CheckpointError: the weights are not there, or do not have a tensor that fits.
    """
    files = sorted(teacher_folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{teacher_folder} holds no weights to start a student from. Set capture.warm_start "
            "to true and capture again, or students.NAME.model.warm_start to none."
        )
    waiting = student.state_dict()
    with torch.no_grad():
        for path in files:
            with safe_open(path, framework="pt") as weights:
                held = set(weights.keys())
                for name in [name for name in waiting if _teacher_name(name, layers) in held]:
                    source = weights.get_tensor(_teacher_name(name, layers))
                    target = waiting.pop(name)
                    if source.shape != target.shape:
                        raise CheckpointError(
                            f"{path}: the tensor for the student's {name} has shape "
                            f"{tuple(source.shape)}, not {tuple(target.shape)}"
                        )
                    target.copy_(source)
    if waiting:
        raise CheckpointError(
            f"{teacher_folder} lacks weights for {len(waiting)} tensors of the student, such as "
            f"{min(waiting)}"
        )


def _teacher_name(name: str, layers: list[int]) -> str:
    """Return the teacher's name of the tensor that a student's tensor starts from."""
    return _LAYER.sub(lambda match: str(layers[int(match[0])] - 1), name)
