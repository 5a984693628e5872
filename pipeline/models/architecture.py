"""The numbers of a model that layer maps, stores and students are checked against."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.core.errors import CheckpointError, first_line
from pipeline.models.checkpoint_config import check_config
from pipeline.models.config_file import plain_config
from pipeline.models.encoder_decoder import stacks_of, vocabulary_size

if TYPE_CHECKING:
    from transformers import PretrainedConfig

HeadReads = Literal["first", "last", "mean"]
"""The first token, the last one that is not padding, or the mean of all real tokens."""

_HEAD_READS: dict[str, HeadReads] = {
    "albert": "first",
    "bert": "first",
    "deberta-v2": "first",
    "distilbert": "first",
    "electra": "first",
    "mpnet": "first",
    "roberta": "first",
    "xlm-roberta": "first",
    "gpt2": "last",
    "llama": "last",
    "qwen2": "last",
    "qwen3": "last",
}

Size = Annotated[int, Field(gt=0, lt=2**31)]


class Architecture(BaseModel):
    """Depth and widths of an encoder with a head, or of an encoder and a decoder."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model_type: str
    """Transformers' name of the architecture, such as `bert`."""
    n_layers: Size
    """Transformer layers; hidden states are numbered 0 (embedding output) to n_layers."""
    n_heads: Size
    hidden_size: Size
    n_labels: Size
    """Numbers of one prediction: labels, or the decoder's vocabulary."""
    head_reads: HeadReads | None
    """What [CLS] means for this teacher: the token states that its head reads. None where a
    decoder reads all of the encoder's."""
    n_decoder_layers: Size | None = Field(default=None, exclude_if=lambda number: number is None)
    """None without a decoder."""


def read_architecture(checkpoint: Path) -> Architecture:
    """Return the architecture that a checkpoint's config describes.

    Raises:
        CheckpointError: the config cannot be read, its [CLS] position is not known, its
            layers cannot be numbered, or its encoder and decoder differ in their widths.
    """
    check_config(checkpoint)
    config = plain_config(checkpoint) or load_config(checkpoint)
    try:
        return _architecture(config)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint}: {error}") from error


def load_config(checkpoint: Path) -> "PretrainedConfig":
    """Return a checkpoint's config, with Transformers' values for what it leaves out.

    Raises:
        CheckpointError: it is of no model that Transformers itself has, or a value is none that
            such a model can have.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    check_config(checkpoint)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
        return config
    except StrictDataclassError as error:
        reason = " ".join(str(error).split())
    except (OSError, ValueError) as error:
        reason = first_line(error)
    raise CheckpointError(f"{checkpoint} has no config that can be used: {reason}")


def _architecture(config: "PretrainedConfig") -> Architecture:
    if config.is_encoder_decoder:
        return _of_two_stacks(config)
    reads = head_reads(config)
    if getattr(config, "inner_group_num", 1) > 1:  # of ALBERT
        raise CheckpointError(
            f"inner_group_num is {config.inner_group_num}, so each of its "
            f"{config.num_hidden_layers} layers is several. Use a checkpoint with "
            "inner_group_num 1."
        )
    assert config.num_labels is not None
    return Architecture(
        model_type=config.model_type,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        n_labels=config.num_labels,
        head_reads=reads,
    )


def _of_two_stacks(config: "PretrainedConfig") -> Architecture:
    """Return the architecture of an encoder and a decoder, which share one width."""
    encoder, decoder = stacks_of(config)
    if encoder[1:] != decoder[1:]:
        raise CheckpointError(
            f"its encoder has {encoder.n_heads} heads and states of {encoder.hidden_size} "
            f"numbers, its decoder {decoder.n_heads} and {decoder.hidden_size}. Use a checkpoint "
            "in which both are equal."
        )
    return Architecture(
        model_type=config.model_type,
        n_layers=encoder.n_layers,
        n_heads=encoder.n_heads,
        hidden_size=encoder.hidden_size,
        n_labels=vocabulary_size(config),
        head_reads=None,
        n_decoder_layers=decoder.n_layers,
    )


def head_reads(config: "PretrainedConfig") -> HeadReads | None:
    """Return which token states the classification head of such a model reads.

    None is of a model whose decoder reads them all.

    Raises:
        CheckpointError: it is not known for this model type, or the config has no
            padding token, by which a decoder's head finds the last token.
    """
    if config.is_encoder_decoder:
        return None
    if config.model_type == "modernbert":
        return "first" if config.classifier_pooling == "cls" else "mean"
    if config.model_type not in _HEAD_READS:
        known = ", ".join(sorted([*_HEAD_READS, "modernbert"]))
        raise CheckpointError(
            f"a model of type '{config.model_type}': what its head reads is known only for "
            f"{known}. Use one of these."
        )
    reads = _HEAD_READS[config.model_type]
    if reads == "last" and config.pad_token_id is None:
        raise CheckpointError(
            f"a model of type '{config.model_type}' needs pad_token_id in its config.json, because "
            "its head reads the last token that is not padding. Set it to the tokenizer's."
        )
    return reads
