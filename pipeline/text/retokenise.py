"""The rows of a token table as another tokenizer sees them, for students that have their own."""

from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_tokenizer
from pipeline.tasks.task import LabelKind
from pipeline.text.tokens import Tokens, TokenSplit

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

_TEXTS_PER_CALL = 1000

_OTHER = "the student has another tokenizer than the teacher. Start it from one with the teacher's"
NOT_RETOKENISED: dict[LabelKind, str] = {
    "word_names": f"labels of words stand at the teacher's tokens, but {_OTHER}",
    "choice": f"a multiple choice cuts its rows by the teacher's tokens, but {_OTHER}",
    "answers": f"answers begin and end with the teacher's tokens, but {_OTHER}",
    "masked": f"masks hide the teacher's tokens, but {_OTHER}",
    "target_text": f"texts are written in the teacher's tokens, but {_OTHER}",
}
"""The kinds of labels whose rows no student reads with another tokenizer, and why."""


def split_for(
    tokens: Tokens,
    split: str,
    tokenizer: "PreTrainedTokenizerFast",
    *,
    most_tokens: int | None,
    is_shown: bool,
) -> TokenSplit:
    """Return a split for a student with this tokenizer: itself, where it is the table's own.

    Keys, labels and the order of the rows stay; only the tokens are others, cut to as many
    as the table, the tokenizer and the model (`most_tokens`, if it has a limit) allow.

    Raises:
        DataError: rows in the table's own tokens are longer than the model can read, a text
            has no token of the student's, or labels are of words, choices,
            answers or word pieces.
    """
    own = tokens.splits[split]
    if digest_tokenizer(tokenizer) == tokens.tokenizer:
        longest = int(max(own.lengths.max(initial=0), own.n_targets.max(initial=0)))
        if most_tokens is not None and longest > most_tokens:
            raise DataError(
                f"{split} has rows of up to {longest} tokens, the student reads at most "
                f"{most_tokens}. Start it from another checkpoint, or lower tokenizer.max_length."
            )
        return own
    if tokens.label_kind in NOT_RETOKENISED:
        raise DataError(NOT_RETOKENISED[tokens.label_kind])
    limits = tokens.max_length, tokenizer.model_max_length, most_tokens
    texts = own.table["text"].to_pylist()
    has_pairs = own.table["text_pair"].null_count < len(own)
    pairs = own.table["text_pair"].to_pylist() if has_pairs else None
    input_ids, type_ids = [], []
    for start in tqdm(
        range(0, len(texts), _TEXTS_PER_CALL),
        f"tokenise {split} for the student",
        unit="k",
        disable=not is_shown,
    ):
        stop = start + _TEXTS_PER_CALL
        encoded = tokenizer(
            texts[start:stop],
            pairs[start:stop] if pairs else None,
            truncation=True,
            max_length=min(limit for limit in limits if limit is not None),
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        input_ids += encoded["input_ids"]
        type_ids += encoded["token_type_ids"]
    n_empty = sum(not ids for ids in input_ids)
    if n_empty:
        raise DataError(
            f"the student's tokenizer leaves no token of {n_empty:,} of {len(texts):,} texts of "
            f"{split}. Start it from another checkpoint."
        )
    return replace(
        own,
        offsets=np.concatenate([[0], np.cumsum([len(ids) for ids in input_ids])]).astype(np.int64),
        input_ids=np.fromiter(chain.from_iterable(input_ids), np.int32),
        token_type_ids=np.fromiter(chain.from_iterable(type_ids), np.int32),
    )
