"""A student's first weights, taken tensor by tensor from the teacher's in the store."""

import re
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import PreTrainedModel

from pipeline.errors import CheckpointError

# The layer's number in a parameter name: encoder.layer.3.output, transformer.h.3.mlp,
# model.layers.3.mlp. ALBERT's albert_layers.0 is every layer, and is copied as it is.
_LAYER = re.compile(r"(?<=\.)(layer|layers|h)\.(\d+)(?=\.)")


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
    return _LAYER.sub(lambda match: f"{match[1]}.{layers[int(match[2])] - 1}", name, count=1)
