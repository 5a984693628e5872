"""What a checkpoint's tokenizer makes of a sample of the texts."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_N_TEXTS = 1000


@dataclass(frozen=True)
class TokenSample:
    """Some texts as tokens."""

    n_texts: int
    unknown_share: float
    """Of the tokens that stand for text, those which are the unknown token, 0 to 1."""
    mean_square_length: float
    """Of the rows, cut at the longest length, in tokens squared: an attention map's size."""


def sample_tokens(
    train: pa.Table, tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> TokenSample:
    """Tokenise up to 1,000 training texts, drawn evenly from all; pairs as pairs."""
    rows = train.take(np.unique(np.linspace(0, len(train) - 1, _N_TEXTS, dtype=np.int64)))
    has_pairs = rows["text_pair"].null_count < len(rows)
    encoded = tokenizer(
        rows["text"].to_pylist(),
        rows["text_pair"].to_pylist() if has_pairs else None,
        truncation=True,
        max_length=max_length,
        return_special_tokens_mask=False,
    )["input_ids"]
    lengths = np.array([len(row) for row in encoded], dtype=np.float64)
    tokens = np.concatenate([np.array(row) for row in encoded])
    # The unknown token is a special one too, so those are counted that frame a text.
    frame = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.bos_token_id}
    framing = np.isin(tokens, [number for number in frame if number is not None])
    unknown = tokenizer.unk_token_id
    is_unknown = tokens == (-1 if unknown is None else unknown)
    n_text = int((~framing).sum())
    return TokenSample(len(rows), float(is_unknown.sum() / max(n_text, 1)), (lengths**2).mean())
