"""What a model reads of one row of a token table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipeline.core.fingerprint import row_key

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


class PiecesAsked(NamedTuple):
    """The word pieces that a model is to predict of a row, where its task is to predict any."""

    pieces: NDArray[np.int32]
    """(target,), those that are right."""
    masked: NDArray[np.int32] | None = None
    """(target,), the positions in the row that hide them; None where a decoder writes them."""
    decoder_ids: NDArray[np.int32] | None = None
    """(target,), what the decoder is given when it is to write each; None without a decoder."""

    @property
    def places(self) -> NDArray[np.int32]:
        """Where each piece is asked for: `masked`, or `decoder_ids`."""
        places = self.masked if self.decoder_ids is None else self.decoder_ids
        assert places is not None
        return places


class TokenRow(NamedTuple):
    """What a model reads of one row."""

    ids: NDArray[np.int32]
    """(token,)"""
    types: NDArray[np.int32]
    """(token,)"""
    asked: PiecesAsked | None = None
    """None of a task that predicts no word pieces."""

    def key(self) -> bytes:
        """Return the row's key; the pieces asked for, and where, are a part of it."""
        if self.asked is None:
            return row_key(self.ids, self.types)
        return row_key(self.ids, self.types, self.asked.places, self.asked.pieces)


def token_names(ids: Sequence[int], tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """Return what a tokenizer calls token ids; a model may have more ids than its tokenizer."""
    names: Sequence[str | None] = tokenizer.convert_ids_to_tokens(list(ids))
    return [name or f"piece {number}" for name, number in zip(names, ids, strict=True)]
