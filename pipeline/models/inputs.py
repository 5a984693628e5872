"""How a model reads rows: their padding and token types, decided once for each model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from pipeline.text.token_row import PiecesAsked, TokenRow
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


def pad_rows(
    rows: Sequence[TokenRow], pad_id: int, *, has_token_types: bool
) -> dict[str, Int[Tensor, "batch token"]]:
    """Return `input_ids`, `attention_mask` and, where the model reads them, `token_type_ids`.

    The batch is as long as its longest row; the mask is 1 on real tokens. Where word pieces
    are asked for, `is_target` is True at the tokens whose logits are wanted: masked ones, or
    those of the decoder, whose `decoder_input_ids` and `decoder_attention_mask` are there too.
    """
    longest = max(len(row.ids) for row in rows)
    input_ids = np.full((len(rows), longest), pad_id, dtype=np.int64)
    type_ids = np.zeros((len(rows), longest), dtype=np.int64)
    mask = np.zeros((len(rows), longest), dtype=np.int64)
    for index, (ids, types, _) in enumerate(rows):
        input_ids[index, : len(ids)] = ids
        type_ids[index, : len(ids)] = types
        mask[index, : len(ids)] = 1
    inputs: dict[str, NDArray[np.generic]] = {"input_ids": input_ids, "attention_mask": mask}
    if has_token_types:
        inputs["token_type_ids"] = type_ids
    asked = [row.asked for row in rows if row.asked is not None]
    if asked:
        inputs |= _pad_asked(asked, longest, pad_id)
    return {name: torch.from_numpy(array) for name, array in inputs.items()}


def _pad_asked(
    asked: Sequence[PiecesAsked], n_tokens: int, pad_id: int
) -> dict[str, NDArray[np.generic]]:
    """Return the inputs by which a model predicts pieces.

    A decoder's first token is never masked, even in a row that asks for nothing: attention
    over no token at all is not a number.
    """
    if asked[0].decoder_ids is None:
        is_target = np.zeros((len(asked), n_tokens), dtype=np.bool_)
        for index, row in enumerate(asked):
            is_target[index, row.masked] = True
        return {"is_target": is_target}
    counts = np.array([len(row.pieces) for row in asked])
    is_target = np.arange(max(1, counts.max())) < counts[:, None]
    decoder_ids = np.full(is_target.shape, pad_id, dtype=np.int64)
    decoder_ids[is_target] = np.concatenate([row.decoder_ids for row in asked])
    mask = is_target.astype(np.int64)
    mask[:, 0] = 1
    return {
        "is_target": is_target,
        "decoder_input_ids": decoder_ids,
        "decoder_attention_mask": mask,
    }
