"""A split of the token table as one model reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from pipeline.models.padding import pad_rows
from pipeline.text.tokens import TokenSplit


@dataclass(frozen=True)
class ModelRows:
    """Rows, in the tokens of the model's own tokenizer."""

    split: TokenSplit
    tokenizer: PreTrainedTokenizerFast
    pad_id: int

    @property
    def has_token_types(self) -> bool:
        """Whether the model is told which of two texts a token is of."""
        return "token_type_ids" in self.tokenizer.model_input_names

    def inputs(
        self, rows: Sequence[int] | NDArray[np.int64], device: torch.device
    ) -> dict[str, Int[Tensor, "batch token"]]:
        """Return these rows as the model's inputs, padded to the longest."""
        chosen = [self.split.row(int(row)) for row in rows]
        inputs: dict[str, Any] = pad_rows(chosen, self.pad_id, has_token_types=self.has_token_types)
        return {name: values.to(device) for name, values in inputs.items()}

    def tokens(self, row: int) -> list[str]:
        """Return the names of a row's tokens."""
        return list(self.tokenizer.convert_ids_to_tokens(self.split.row(row)[0].tolist()))
