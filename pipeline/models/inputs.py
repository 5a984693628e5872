"""How a model reads rows: their padding and token types, decided once for each model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from pipeline.models.padding import pad_rows
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import TokenSplit


@dataclass(frozen=True)
class Inputs:
    """What is to be known of a model to give it rows."""

    pad_id: int
    has_token_types: bool
    """Whether the model is told which of two texts a token is of."""

    @classmethod
    def of(cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast) -> "Inputs":
        """Return how a model of this config reads the rows of this tokenizer."""
        has_token_types = "token_type_ids" in tokenizer.model_input_names
        return cls(int(config.pad_token_id or 0), has_token_types)

    def pad(
        self, rows: Sequence[TokenRow], device: torch.device | None = None
    ) -> dict[str, Int[Tensor, "batch token"]]:
        """Return rows as the model's inputs, padded to the longest; see `pad_rows`."""
        padded = pad_rows(rows, self.pad_id, has_token_types=self.has_token_types)
        return {name: values.to(device or "cpu") for name, values in padded.items()}


@dataclass(frozen=True)
class ModelRows:
    """A split of the token table, in the tokens of the model's own tokenizer."""

    split: TokenSplit
    tokenizer: PreTrainedTokenizerFast
    inputs: Inputs

    def batch(
        self, rows: Sequence[int] | NDArray[np.int64], device: torch.device
    ) -> dict[str, Int[Tensor, "batch token"]]:
        """Return these rows as the model's inputs, padded to the longest."""
        return self.inputs.pad([self.split.row(int(row)) for row in rows], device)

    def tokens(self, row: int) -> list[str]:
        """Return the names of a row's tokens."""
        return list(self.tokenizer.convert_ids_to_tokens(self.split.row(row)[0].tolist()))
