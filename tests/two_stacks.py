"""Tiny random models with an encoder of four layers and a decoder of three."""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    BertConfig,
    EncoderDecoderConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

VOCABULARY = 40
PAD, EOS, START = 0, 3, 2
_BART = ("bart", "marian", "mbart")
_T5 = ("t5", "mt5")
TYPES = (*_T5, *_BART, "encoder-decoder")


def make_config(model_type: str, n_layers: int = 4, n_decoder: int = 3) -> PreTrainedConfig:
    """Return the config of a tiny model of one of TYPES."""
    special = {"pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": START}
    if model_type == "encoder-decoder":
        sizes: dict[str, Any] = {
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "num_attention_heads": 4,
            "intermediate_size": 32,
            "max_position_embeddings": 32,
            "initializer_range": 0.2,  # else attention maps are all but uniform
        }
        decoder = BertConfig(
            num_hidden_layers=n_decoder, is_decoder=True, add_cross_attention=True, **sizes
        )
        encoder = BertConfig(num_hidden_layers=n_layers, **sizes)
        return EncoderDecoderConfig(encoder=encoder, decoder=decoder, **special)
    if model_type in _T5:
        return AutoConfig.for_model(
            model_type,
            vocab_size=VOCABULARY,
            d_model=16,
            d_kv=4,
            d_ff=32,
            num_layers=n_layers,
            num_decoder_layers=n_decoder,
            num_heads=4,
            relative_attention_num_buckets=8,
            relative_attention_max_distance=16,
            **special,
        )
    return AutoConfig.for_model(
        model_type,
        vocab_size=VOCABULARY,
        d_model=16,
        encoder_layers=n_layers,
        decoder_layers=n_decoder,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        max_position_embeddings=32,
        attention_dropout=0.1,
        init_std=0.2,
        bos_token_id=START,
        forced_eos_token_id=None,
        **special,
    )


def make_two_stacks(model_type: str, *, seed: int = 0) -> PreTrainedModel:
    """Return a random model in evaluation mode; biases and norms are random too."""
    torch.manual_seed(seed)
    model = AutoModelForSeq2SeqLM.from_config(make_config(model_type))
    with torch.no_grad():
        for weight in model.parameters():
            if weight.requires_grad:
                weight.add_(0.1 * torch.randn_like(weight))
    assert isinstance(model, PreTrainedModel)
    return model.eval()
