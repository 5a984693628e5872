"""Texts that are split into words, with a label for each word, as rows of a token table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.rows import TokenisedTexts, make_rows
from pipeline.text.tokens import IGNORED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenise_words(
    texts: Sequence[Sequence[str]],
    labels: Sequence[Sequence[int]],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> TokenisedTexts:
    """Tokenise lists of words; the first piece of each word has its label.

    Other pieces and special tokens have `IGNORED`. A word of which the tokenizer leaves no
    piece loses its label (`n_words_dropped`), as do words behind the limit (`n_words_cut`).

    Raises:
        DataError: the tokenizer reads words that are given one by one in another way than
            those of a text.
    """
    _check_reads_words(tokenizer)
    encoded = tokenizer(
        [list(words) for words in texts],
        is_split_into_words=True,
        truncation=True,
        max_length=max_length,
        return_token_type_ids=True,
        return_attention_mask=False,
    )
    aligned, is_cut, n_dropped, n_cut = [], [], 0, 0
    for encoding, ids, words in zip(encoded.encodings or (), labels, texts, strict=True):
        aligned.append(_at_first_pieces(encoding.word_ids, ids))
        kept = set(encoding.word_ids)
        behind = {word for rest in encoding.overflowing for word in rest.word_ids} - kept
        is_cut.append(bool(encoding.overflowing))
        n_cut += len(behind)
        n_dropped += len(set(range(len(words))) - kept - behind)
    rows = make_rows(
        encoded["input_ids"],
        encoded["token_type_ids"],
        pa.array(aligned, pa.list_(pa.int64())),
        [" ".join(words) for words in texts],
        None,
        "word_names",
    )
    counts = {"n_words_dropped": n_dropped, "n_words_cut": n_cut}
    return TokenisedTexts(rows, np.array(is_cut, dtype=bool), counts)


def _check_reads_words(tokenizer: "PreTrainedTokenizerFast") -> None:
    """Refuse a tokenizer that reads words one by one as if nothing stood between them."""
    together = tokenizer("the the", add_special_tokens=False)["input_ids"]
    alone = tokenizer(["the", "the"], is_split_into_words=True, add_special_tokens=False)
    if alone["input_ids"] != together:
        raise DataError(
            "the tokenizer reads words that are given one by one as if there were no spaces "
            "between them. Load it with add_prefix_space=True and save it into the folder of the "
            "teacher's checkpoint."
        )


def _at_first_pieces(words: Sequence[int | None], labels: Sequence[int]) -> list[int]:
    """Return a label for each token; `words` says which word a token is of."""
    return [
        IGNORED if word is None or word == before else labels[word]
        for before, word in zip([None, *words], words, strict=False)
    ]
