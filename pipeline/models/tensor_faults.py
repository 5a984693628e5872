"""Whether a checkpoint's tensors are those of the model that its config describes.

A head may be missing or be made for other labels; nothing else may. Names are mapped by
Transformers' own conversion, whose report is what is judged here.
"""

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.core.errors import CheckpointError
from pipeline.core.weights import some_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MASK = ".masked_bias"
"""A constant that old GPT-2s keep in each layer."""
# The number of a layer, or of a group of layers, and what comes before it.
_LAYER = re.compile(r"^((?:.*?\.)?(?:block|layer|layers|h|albert_layer_groups))\.(\d+)\.")


def check_tensors(checkpoint: object, model: "PreTrainedModel", loading: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that is not the model its config describes.

    `loading` is what `from_pretrained` says of its tensors.

    Raises:
        CheckpointError: tensors beside the head are missing or have other shapes, or layers have
            more than the model.
    """
    if fault := tensor_fault(model, loading):
        raise CheckpointError(f"{checkpoint} {fault}")


def tensor_fault(model: "PreTrainedModel", loading: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a checkpoint's tensors, and what to do; None: nothing."""
    expected = model.state_dict().keys()
    described = f"the {model.config.model_type} that its config.json describes"
    missing = sorted(name for name in loading["missing_keys"] if not is_of_head(model, name))
    unexpected = loading["unexpected_keys"]
    if missing:
        n_all = sum(not is_of_head(model, name) for name in expected)
        return (
            f"lacks {len(missing)} of {n_all} tensors of {described}, such as {some_of(missing)}. "
            + _remedy(model, missing, unexpected)
        )
    misshapen = sorted(
        f"{name} {tuple(found)}, not {tuple(wanted)}"
        for name, found, wanted in loading["mismatched_keys"]
        if not is_of_head(model, name)
    )
    if misshapen:
        return (
            f"has tensors of other shapes than {described}: {some_of(misshapen)}. Put the "
            "config.json there that belongs to its weights."
        )
    left_over = _in_layers(model, expected, unexpected)
    if left_over:
        return (
            f"has {len(left_over)} tensors in its layers that are not of {described}, such as "
            f"{some_of(left_over)}. Put the config.json there that belongs to its weights."
        )
    return None


def is_of_head(model: "PreTrainedModel", name: str) -> bool:
    """Say whether a tensor is of a task's head, or of the pooler below one.

    Where the model has no encoder of its own under one name, as a T5 has none, `lm_head` is all
    of its head.
    """
    parts = name.split(".")
    if "pooler" in parts:
        return True
    if model.base_model is model:
        return parts[0] == "lm_head"
    return parts[0] != model.base_model_prefix


def _remedy(model: "PreTrainedModel", missing: Collection[str], unexpected: Collection[str]) -> str:
    """Return what to do where tensors are missing."""
    own = f"{model.base_model_prefix}."
    wanted = {*missing, *(name.removeprefix(own) for name in missing)}
    for found in sorted(unexpected):
        parts = found.split(".")
        for start in range(1, len(parts)):
            if ".".join(parts[start:]) in wanted:
                prefix = ".".join(parts[:start])
                return (
                    f"It has them behind '{prefix}.', as {found}: save the model once more without "
                    "that prefix, or correct model_type in config.json."
                )
    return "Copy the whole checkpoint, or put the config.json there that belongs to its weights."


def _in_layers(
    model: "PreTrainedModel", expected: Collection[str], unexpected: Collection[str]
) -> list[str]:
    """Return the tensors of layers that the model has no place for."""
    own = f"{model.base_model_prefix}."
    found = (_LAYER.match(name.removeprefix(own)) for name in expected)
    stacks = {layer[1] for layer in found if layer is not None}
    return sorted(
        name
        for name in unexpected
        if not name.endswith(_MASK)
        and (layer := _LAYER.match(name.removeprefix(own))) is not None
        and layer[1] in stacks
    )
