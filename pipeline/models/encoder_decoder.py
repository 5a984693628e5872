"""The sizes of a model that has an encoder and a decoder, wherever its config writes them."""

from typing import TYPE_CHECKING, NamedTuple

from pipeline.core.errors import CheckpointError

if TYPE_CHECKING:
    from transformers import PretrainedConfig

OF_TWO_MODELS = "encoder-decoder"
"""The type of a model made of two, each of which has a config of its own."""
_HALVES = ("bert", "roberta")
"""What both of them may be."""
DECODER_NAMES = {
    "bart": ("decoder_layers", "decoder_attention_heads"),
    "marian": ("decoder_layers", "decoder_attention_heads"),
    "mbart": ("decoder_layers", "decoder_attention_heads"),
    "mt5": ("num_decoder_layers", "num_heads"),
    "t5": ("num_decoder_layers", "num_heads"),
}
"""What the configs call the decoder's layers and heads."""
ENCODER_DECODERS = tuple(sorted([*DECODER_NAMES, OF_TWO_MODELS]))


class Stack(NamedTuple):
    """The sizes of one of both."""

    n_layers: int
    n_heads: int
    hidden_size: int


def stacks_of(config: "PretrainedConfig") -> tuple[Stack, Stack]:
    """Return the encoder's sizes and the decoder's.

    Raises:
        CheckpointError: where such a model's config has them is not known.
    """
    if config.model_type == OF_TWO_MODELS:
        for half in (config.encoder, config.decoder):
            if half.model_type not in _HALVES:
                raise CheckpointError(
                    f"an {OF_TWO_MODELS} of a {config.encoder.model_type} and a "
                    f"{config.decoder.model_type}: only {' and '.join(_HALVES)} are known as its "
                    "halves. Use a checkpoint of these."
                )
        return _stack(config.encoder), _stack(config.decoder)
    if config.model_type not in DECODER_NAMES:
        raise CheckpointError(
            f"a model of type '{config.model_type}': the sizes of encoder and decoder are known "
            f"only for {', '.join(ENCODER_DECODERS)}. Use one of these."
        )
    layers, heads = DECODER_NAMES[config.model_type]
    n_layers, n_heads = getattr(config, layers), getattr(config, heads)
    return _stack(config), Stack(n_layers, n_heads, config.hidden_size)


def _stack(config: "PretrainedConfig") -> Stack:
    return Stack(config.num_hidden_layers, config.num_attention_heads, config.hidden_size)


def layer_counts(config: "PretrainedConfig") -> tuple[int, int]:
    """Return the number of layers of any model's encoder, and of its decoder: 0 without one.

    A decoder that there is no encoder beside counts as the encoder here.
    """
    if not config.is_encoder_decoder:
        return int(config.num_hidden_layers), 0
    encoder, decoder = stacks_of(config)
    return encoder.n_layers, decoder.n_layers


def cut_layers(config: "PretrainedConfig", n_layers: int, n_decoder_layers: int) -> None:
    """Give a config other numbers of layers, none of which is left out at random in training."""
    if config.model_type == OF_TWO_MODELS:
        config.encoder.num_hidden_layers = n_layers
        config.decoder.num_hidden_layers = n_decoder_layers
        return
    config.num_hidden_layers = n_layers
    setattr(config, DECODER_NAMES[config.model_type][0], n_decoder_layers)
    for name in ("encoder_layerdrop", "decoder_layerdrop"):
        if getattr(config, name, 0):
            setattr(config, name, 0.0)


def reads_token_types(config: "PretrainedConfig") -> bool:
    """Say whether such a model reads the types that a tokenizer may give its tokens."""
    return config.model_type == OF_TWO_MODELS and bool(config.encoder.type_vocab_size)


def vocabulary_size(config: "PretrainedConfig") -> int:
    """Return how many word pieces a model that predicts them chooses from."""
    if config.model_type == OF_TWO_MODELS:
        return int(config.decoder.vocab_size)
    return int(getattr(config, "decoder_vocab_size", None) or config.vocab_size)
