"""What a tokenizer calls word pieces."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def name_pieces(pieces: Sequence[int], tokenizer: "PreTrainedTokenizerFast") -> list[str]:
    """Return the names; a model may have more pieces than its tokenizer, which have numbers."""
    names: Sequence[str | None] = tokenizer.convert_ids_to_tokens(list(pieces))
    return [name or f"piece {number}" for name, number in zip(names, pieces, strict=True)]
