"""The numbers of an encoder that layer maps, stores and students are checked against."""

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import CheckpointError, first_line

# Model types whose classification head reads the first token's state.
_FIRST_TOKEN_IS_CLS = frozenset({"bert", "roberta", "xlm-roberta", "distilbert", "electra"})


Size = Annotated[int, Field(gt=0, lt=2**31)]


class Architecture(BaseModel):
    """Depth and widths of an encoder with a classification head."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model_type: str
    """Transformers' name of the architecture, such as `bert`."""
    n_layers: Size
    """Transformer layers; hidden states are numbered 0 (embedding output) to n_layers."""
    n_heads: Size
    hidden_size: Size
    n_labels: Size


def read_architecture(checkpoint: Path) -> Architecture:
    """Return the architecture that a checkpoint's config describes.

    Raises:
        CheckpointError: the config cannot be read, or its [CLS] position is not known.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(checkpoint, trust_remote_code=False)
    except (OSError, ValueError) as error:
        reason = first_line(error)
        raise CheckpointError(f"{checkpoint} has no config that can be used: {reason}") from error
    if config.model_type not in _FIRST_TOKEN_IS_CLS:
        raise CheckpointError(
            f"{checkpoint} is of type '{config.model_type}'; the position its head reads is known "
            f"only for {', '.join(sorted(_FIRST_TOKEN_IS_CLS))}. Use one of these."
        )
    return Architecture(
        model_type=config.model_type,
        n_layers=config.num_hidden_layers,
        n_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        n_labels=config.num_labels,
    )
