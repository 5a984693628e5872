"""A student's first weights, taken tensor by tensor from the teacher's in the store."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.conversion_mapping import get_checkpoint_conversion_mapping
from transformers.core_model_loading import apply_renamings

from pipeline.core.errors import CheckpointError

# The layer's number in a parameter name: encoder.layer.3.output, transformer.h.3.mlp,
# model.layers.3.mlp, decoder.block.3.layer.1. ALBERT's albert_layers.0 is every layer, and is
# copied as it is.
_LAYER = re.compile(r"(?<=\.)(block|layer|layers|h)\.(\d+)(?=\.)")
_OF_ALL_LAYERS = "relative_attention_bias"
"""What T5 has in its first layer for all of them."""

# What comes last in a layer, after its number: the projection back to the hidden width, and
# the norm behind it. BERT's names and its relatives', DistilBERT's, ModernBERT's, GPT-2's,
# Llama's.
_OUTPUT_BLOCK = (
    "output.",
    "ffn.lin2.",
    "output_layer_norm.",
    "mlp.Wo.",
    "mlp.c_proj.",
    "mlp.down_proj.",
)


def copy_teacher_layers(
    student: PreTrainedModel,
    teacher_folder: Path,
    layers: Sequence[int],
    decoder_layers: Sequence[int] = (),
) -> dict[str, str]:
    """Copy embeddings, head and the teacher's `layers`, in order, into the student.

    `decoder_layers` are those of a decoder beside the encoder. Returns the teacher's tensor by
    the student's.

    Raises:
        CheckpointError: the weights are not there, or do not have a tensor that fits.
    """
    names = {
        name: _at_layers(name, decoder_layers if _is_of_decoder(name) else layers)
        for name in student.state_dict()
        if not _is_computed(student, name)
    }
    return _copy(student, teacher_folder, names)


def copy_head(student: PreTrainedModel, teacher_folder: Path, n_teacher: int) -> dict[str, str]:
    """Copy pooler, classifier and the last layer's output block into the student.

    Returns the teacher's tensor by the student's.

    Raises:
        CheckpointError: the weights are not there or do not fit, or layers share their
            weights, so that none is the last.
    """
    n_student = int(student.config.num_hidden_layers)
    encoder = f"{student.base_model_prefix}."
    names = {}
    for name in student.state_dict():
        layer = _LAYER.search(name)
        if layer is not None:
            is_last = int(layer[2]) == n_student - 1
            if is_last and name[layer.end() + 1 :].startswith(_OUTPUT_BLOCK):
                names[name] = _at_layers(name, [n_teacher] * n_student)
        elif not name.startswith(encoder) or "pooler" in name:
            names[name] = name
    if not any(_LAYER.search(name) for name in names):
        raise CheckpointError(
            f"{teacher_folder}: no layer of a {student.config.model_type} has an output block that "
            "is known. Set students.NAME.model.warm_start to first or none."
        )
    return _copy(student, teacher_folder, names)


def read_teacher_tensors(
    folder: Path, is_wanted: Callable[[str], bool], *, instead: str
) -> Iterator[tuple[str, Tensor]]:
    """Yield the teacher's tensors that are wanted, by name, one at a time.

    Names are those that Transformers' classes have today, whatever the file calls them.
    `instead` is the setting of a student that does without them, for the message.

    Raises:
        CheckpointError: the store does not carry the teacher's weights.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CheckpointError(
            f"{folder} holds no weights to start a student from. Set capture.warm_start "
            f"to true and capture again, or students.NAME.model.{instead}."
        )
    from_old_names = get_checkpoint_conversion_mapping("legacy")
    for path in files:
        with safe_open(path, framework="pt") as weights:
            stored_names = weights.keys()
            for stored in stored_names:
                name = apply_renamings(stored, from_old_names)
                if is_wanted(name):
                    yield name, weights.get_tensor(stored)


def tied_names(model: PreTrainedModel) -> dict[str, str]:
    """Return for each tensor the name of the first one that is the same memory, often itself."""
    first: dict[tuple[int, torch.Size], str] = {}
    return {
        name: first.setdefault((values.data_ptr(), values.shape), name)
        for name, values in model.state_dict().items()
    }


def _copy(student: PreTrainedModel, folder: Path, names: Mapping[str, str]) -> dict[str, str]:
    """Copy the teacher's tensor `names[name]` into the student's `name`, all of them.

    Of tensors that are the same memory, the teacher's file has one or all. Where these differ,
    as the output layer of a T5 1.1 does, they are no longer the same memory in the student.
    """
    tied = tied_names(student)
    asked = {tied[name] for name in names}
    wanted = {ours: names.get(ours, ours) for ours, first in tied.items() if first in asked}
    targets: dict[str, list[str]] = {}
    for ours, theirs in wanted.items():
        targets.setdefault(theirs, []).append(ours)
    copied: dict[str, str] = {}
    later: dict[str, Tensor] = {}
    state = student.state_dict()
    for theirs, source in read_teacher_tensors(
        folder, targets.__contains__, instead="warm_start to none"
    ):
        for ours in targets[theirs]:
            if source.shape != state[ours].shape:
                raise CheckpointError(
                    f"{folder}: the tensor for the student's {ours} has shape "
                    f"{tuple(source.shape)}, not {tuple(state[ours].shape)}"
                )
            if ours != tied[ours]:
                later[ours] = source
                continue
            state[ours].copy_(source)
            copied[ours] = theirs
    for ours, source in later.items():
        first = tied[ours]
        if first not in copied:
            state[first].copy_(source)
            copied[first] = wanted[ours]
        elif not torch.equal(state[first], source.to(state[first].dtype)):
            _untie(student, ours, source)
            copied[ours] = wanted[ours]
    optional = student._keys_to_ignore_on_load_missing or ()
    waiting = {
        name
        for name in asked - copied.keys()
        if not any(re.search(pattern, name) for pattern in optional)
    }
    if waiting:
        raise CheckpointError(
            f"{folder} lacks weights for {len(waiting)} tensors of the student, such as "
            f"{min(waiting)}"
        )
    return {name: copied[name] for name in tied if name in copied}


def _untie(student: PreTrainedModel, name: str, values: Tensor) -> None:
    """Give a parameter memory of its own."""
    owner, _, own_name = name.rpartition(".")
    parameter = student.get_parameter(name)
    setattr(student.get_submodule(owner), own_name, nn.Parameter(values.to(parameter.dtype)))


def _is_of_decoder(name: str) -> bool:
    """Say whether a layer's tensor is of a decoder that stands beside an encoder."""
    layer = _LAYER.search(name)
    return layer is not None and "decoder" in name[: layer.start()].split(".")


def _is_computed(student: PreTrainedModel, name: str) -> bool:
    """Say whether a tensor, such as sinusoidal positions, is made anew wherever it is needed."""
    patterns = student._keys_to_ignore_on_save or ()
    return any(re.search(pattern, name) for pattern in patterns)


def _at_layers(name: str, layers: Sequence[int]) -> str:
    """Return the teacher's name of the tensor that a student's tensor starts from."""
    if _OF_ALL_LAYERS in name:
        return name
    return _LAYER.sub(lambda match: f"{match[1]}.{layers[int(match[2])] - 1}", name, count=1)
