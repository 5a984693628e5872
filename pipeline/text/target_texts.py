"""Texts with others that are to be written for them, as rows of a token table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import SettingsError
from pipeline.text.rows import TokenisedTexts, make_asking_rows
from pipeline.text.token_row import PiecesAsked, TokenRow

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast


def tokenise_targets(
    texts: Sequence[str],
    targets: Sequence[str | None],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    decoder_start: int,
) -> TokenisedTexts:
    """Tokenise texts and what is to be written for each; None where nobody says.

    A target's pieces end with the end token, whether the tokenizer adds it or not, and are at
    most `max_length` (`n_target_texts_cut`); special tokens that the tokenizer puts behind them
    are left out. The decoder is given `decoder_start` for the first piece, and for each other
    the one before it.

    Raises:
        SettingsError: the tokenizer has no end token.
    """
    end = end_of_text(tokenizer)
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=max_length,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    is_cut = [bool(encoding.overflowing) for encoding in encoded.encodings or ()]
    written = _pieces([target or "" for target in targets], tokenizer)
    rows, n_cut = [], 0
    for ids, types, target, pieces in zip(
        encoded["input_ids"], encoded["token_type_ids"], targets, written, strict=True
    ):
        asked = [] if target is None else [*pieces[: max_length - 1], end]
        n_cut += target is not None and len(pieces) >= max_length
        given = [decoder_start, *asked[:-1]] if asked else []
        rows.append(
            TokenRow(
                np.array(ids, dtype=np.int32),
                np.array(types, dtype=np.int32),
                PiecesAsked(
                    np.array(asked, dtype=np.int32), decoder_ids=np.array(given, dtype=np.int32)
                ),
            )
        )
    return TokenisedTexts(
        make_asking_rows(rows, texts, targets, "target_text"),
        np.array(is_cut, dtype=bool),
        {"n_target_texts_cut": n_cut},
    )


def end_of_text(tokenizer: "PreTrainedTokenizerFast") -> int:
    """Return the token that ends a text that a decoder writes.

    Raises:
        SettingsError: the tokenizer has none.
    """
    for number in (tokenizer.eos_token_id, tokenizer.sep_token_id):
        if number is not None:
            return int(number)
    raise SettingsError(
        [
            "tokenizer.checkpoint: its tokenizer has no token that ends a text, which a "
            "sequence_to_sequence needs; name the checkpoint of a model that writes texts"
        ]
    )


def _pieces(targets: Sequence[str], tokenizer: "PreTrainedTokenizerFast") -> list[list[int]]:
    """Return each target's tokens, without special ones behind the last piece."""
    encoded = tokenizer(text_target=list(targets), return_attention_mask=False, verbose=False)
    return [_without_end(encoding) for encoding in encoded.encodings or ()]


def _without_end(encoding: "Encoding") -> list[int]:
    own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    stop = own[-1] + 1 if len(own) else 0
    ids: list[int] = encoding.ids[:stop]
    return ids
