"""The config of a student: the teacher's, cut to fewer layers."""

from collections.abc import Sequence
from pathlib import Path

from transformers import AutoConfig, PreTrainedConfig

from pipeline.core.errors import CheckpointError
from pipeline.models.encoder_decoder import cut_layers


def student_config(
    teacher_folder: Path,
    n_layers: int,
    layers: Sequence[int],
    *,
    n_decoder_layers: int | None = None,
) -> PreTrainedConfig:
    """Return the config of a student of `n_layers` that starts from the teacher's `layers`.

    Each student layer is of the kind of the teacher layer (from 1) it starts from. Without
    `layers` the kinds are those of the teacher's first ones. Of a teacher with a decoder beside
    its encoder, `n_decoder_layers` are the student's in there.

    Raises:
        CheckpointError: the teacher's architecture leaves no way to make such a student.
    """
    config: PreTrainedConfig = AutoConfig.from_pretrained(teacher_folder, trust_remote_code=False)
    if n_decoder_layers is not None:
        cut_layers(config, n_layers, n_decoder_layers)
        return config
    _check_layers_can_move(teacher_folder, config, layers)
    kinds = getattr(config, "layer_types", None)  # local or global attention
    if kinds is not None:
        config.layer_types = _cut(teacher_folder, kinds, n_layers, layers)
    config.num_hidden_layers = n_layers
    return config


def _cut(folder: Path, kinds: Sequence[str], n_layers: int, layers: Sequence[int]) -> list[str]:
    if layers:
        return [kinds[layer - 1] for layer in layers]
    if n_layers > len(kinds) and len(set(kinds)) > 1:
        raise CheckpointError(
            f"{folder}: its config lists layer_types of {len(kinds)} layers, a student of "
            f"{n_layers} has no kind for the others. Set students.NAME.model.n_layers to "
            f"{len(kinds)} or less."
        )
    return [kinds[min(layer, len(kinds) - 1)] for layer in range(n_layers)]


def _check_layers_can_move(folder: Path, config: PreTrainedConfig, layers: Sequence[int]) -> None:
    """Refuse layers that compute something else at another place in the model."""
    groups = getattr(config, "num_hidden_groups", 1)  # of ALBERT
    if layers and groups > 1:
        raise CheckpointError(
            f"{folder}: its layers share their weights in {groups} groups, which fewer layers "
            "would use otherwise. Set students.NAME.model.warm_start to none."
        )
    if config.model_type == "modernbert" and 1 in layers[1:]:
        raise CheckpointError(
            f"{folder}: the first layer of a ModernBERT has no norm before its attention, so no "
            "other layer can start from it. Name layer 1 only first in "
            "students.NAME.model.warm_start."
        )
    is_moved = list(layers) != list(range(1, len(layers) + 1))
    if is_moved and getattr(config, "scale_attn_by_inverse_layer_idx", False):  # of GPT-2
        raise CheckpointError(
            f"{folder}: its attention is scaled by the layer's number "
            "(scale_attn_by_inverse_layer_idx), so a layer cannot be moved. Set "
            "students.NAME.model.warm_start to first or none."
        )


_NARROWED = {
    "bert": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "roberta": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "xlm-roberta": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "electra": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "albert": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "mpnet": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "deberta-v2": ("hidden_size", "num_attention_heads", "intermediate_size"),
    "distilbert": ("dim", "n_heads", "hidden_dim"),
}
"""The names of width, heads and inner width in the configs whose layers can be narrowed."""


def narrow(
    config: PreTrainedConfig, hidden_size: int, n_heads: int, intermediate_size: int | None
) -> None:
    """Give a config other widths; the inner one keeps its ratio where none is given.

    Raises:
        CheckpointError: the widths of such a model hang together in a way not known here.
    """
    if config.model_type not in _NARROWED:
        raise CheckpointError(
            f"a {config.model_type} student cannot be made narrower than its teacher; that is "
            f"known for {', '.join(sorted(_NARROWED))}. Set students.NAME.model.checkpoint to a "
            "checkpoint of the wanted width."
        )
    width, heads, inner = _NARROWED[config.model_type]
    ratio = getattr(config, inner) / getattr(config, width)
    setattr(config, width, hidden_size)
    setattr(config, heads, n_heads)
    setattr(config, inner, intermediate_size or round(ratio * hidden_size))
    if config.model_type == "deberta-v2":  # names the width of its pooler on its own
        config.pooler_hidden_size = hidden_size
