"""A checkpoint's config.json, read without Transformers, whose import takes seconds.

Only what sizes are read from, of the model types that are known here, and only where the file
says all of it: what it leaves out is a default of Transformers' config classes.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pipeline.core.checkpoint import read_config
from pipeline.models.encoder_decoder import DECODER_NAMES, ENCODER_DECODERS, OF_TWO_MODELS

_SIZES = ("num_hidden_layers", "num_attention_heads", "hidden_size")
_BART = ("encoder_layers", "encoder_attention_heads", "d_model")
_T5 = ("num_layers", "num_heads", "d_model")
_OWN_NAMES: dict[str, tuple[str, str, str]] = {
    **dict.fromkeys(("albert", "bert", "deberta-v2", "electra", "mpnet", "roberta"), _SIZES),
    **dict.fromkeys(("llama", "modernbert", "qwen2", "qwen3", "xlm-roberta"), _SIZES),
    "distilbert": ("n_layers", "n_heads", "dim"),
    "gpt2": ("n_layer", "n_head", "n_embd"),
    **dict.fromkeys(("bart", "marian", "mbart"), _BART),
    **dict.fromkeys(("mt5", "t5"), _T5),
}
"""What model types call their sizes."""
_ALSO_READ = {
    "modernbert": "classifier_pooling",
    **dict.fromkeys(("gpt2", "llama", "qwen2", "qwen3"), "pad_token_id"),
}
"""What else must be in the file, for its default is the model type's own."""


def plain_config(checkpoint: Path) -> Any | None:
    """Return the file's values under the names that Transformers' configs have in common.

    None where the file is not enough, and Transformers has to say what it means.

    Raises:
        CheckpointError: there is no config.json, or it is not a JSON object.
    """
    return _plain(read_config(checkpoint))


def _plain(content: Any) -> SimpleNamespace | None:
    if not isinstance(content, dict) or not isinstance(content.get("model_type"), str):
        return None
    model_type = content["model_type"]
    is_encoder_decoder = model_type in ENCODER_DECODERS
    if content.get("is_encoder_decoder", is_encoder_decoder) is not is_encoder_decoder:
        return None
    if model_type == OF_TWO_MODELS:
        encoder, decoder = _plain(content.get("encoder")), _plain(content.get("decoder"))
        if encoder is None or decoder is None or not _is_size(vars(decoder).get("vocab_size")):
            return None
        return SimpleNamespace(
            model_type=model_type, is_encoder_decoder=True, encoder=encoder, decoder=decoder
        )
    if model_type not in _OWN_NAMES:
        return None
    common = dict(zip(_OWN_NAMES[model_type], _SIZES, strict=True))
    renamed = {common.get(name, name): value for name, value in content.items()}
    values = {**content, **renamed}
    values |= {"is_encoder_decoder": is_encoder_decoder, "num_labels": _count_labels(content)}
    sizes = {*_SIZES, *DECODER_NAMES.get(model_type, ()), "num_labels", "inner_group_num"}
    if model_type in DECODER_NAMES:
        sizes.add("vocab_size")
    is_clear = (
        len(renamed) == len(content)  # no size is there under two names
        and all(_is_size({"inner_group_num": 1, **values}.get(name)) for name in sizes)
        and _ALSO_READ.get(model_type, "model_type") in values
    )
    return SimpleNamespace(**values) if is_clear else None


def _count_labels(content: dict[str, Any]) -> Any:
    """Return the number of a head's labels, 2 if the file does not say; 0 if that is unclear."""
    names, count = content.get("id2label"), content.get("num_labels")
    if names is None:
        return 2 if count is None else count
    n_names = len(names) if isinstance(names, dict) else 0
    return n_names if count in (None, n_names) else 0


def _is_size(value: object) -> bool:
    return type(value) is int and value > 0
