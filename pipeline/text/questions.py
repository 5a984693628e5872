"""Multiple-choice questions as rows of a token table: one row for each choice."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.text.choices import with_choice
from pipeline.text.rows import Ids, TokenisedTexts, make_rows
from pipeline.text.tokens import UNLABELLED

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast


def tokenise_questions(
    texts: Sequence[str],
    questions: Sequence[str | None],
    choices: Sequence[Sequence[str]],
    right: Sequence[int],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> TokenisedTexts:
    """Tokenise each text with each choice of its question behind it.

    `right` is the position of the right choice, `UNLABELLED` where nobody says. Where a row is
    too long, the text loses its end and the question with its choice stays whole; only one
    that is longer than the limit on its own is cut too (`n_choices_cut`).
    """
    sizes = [len(of_one) for of_one in choices]
    firsts = [text for text, size in zip(texts, sizes, strict=True) for _ in range(size)]
    seconds = [
        with_choice(question, choice)
        for question, of_one in zip(questions, choices, strict=True)
        for choice in of_one
    ]
    numbers = [number for size in sizes for number in range(size)]
    labels = [
        UNLABELLED if answer == UNLABELLED else int(number == answer)
        for answer, size in zip(right, sizes, strict=True)
        for number in range(size)
    ]
    is_long = _are_too_long(seconds, tokenizer, max_length)
    input_ids, type_ids, is_cut = _encode(firsts, seconds, is_long, tokenizer, max_length)
    rows = make_rows(
        input_ids, type_ids, pa.array(labels, pa.int64()), firsts, seconds, "choice", [numbers]
    )
    return TokenisedTexts(rows, is_cut, {"n_choices_cut": int(is_long.sum())})


def _are_too_long(
    seconds: Sequence[str], tokenizer: "PreTrainedTokenizerFast", max_length: int
) -> NDArray[np.bool_]:
    """Say which second texts leave no room for a token of the first."""
    ids = tokenizer(list(seconds), add_special_tokens=False, return_attention_mask=False)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - 1
    return np.array([len(row) > room for row in ids["input_ids"]], dtype=bool)


def _encode(
    firsts: Sequence[str],
    seconds: Sequence[str],
    is_long: NDArray[np.bool_],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
) -> tuple[Ids, Ids, NDArray[np.bool_]]:
    """Return token ids, type ids, and which rows lost tokens; both texts of `is_long` may."""
    input_ids: list[list[int]] = [[]] * len(firsts)
    type_ids: list[list[int]] = [[]] * len(firsts)
    is_cut = np.zeros(len(firsts), dtype=bool)
    for truncation, rows in (
        ("only_first", np.flatnonzero(~is_long).tolist()),
        ("longest_first", np.flatnonzero(is_long).tolist()),
    ):
        if not rows:
            continue
        encoded = tokenizer(
            [firsts[row] for row in rows],
            [seconds[row] for row in rows],
            truncation=truncation,
            max_length=max_length,
            return_token_type_ids=True,
            return_attention_mask=False,
        )
        for row, ids, types, encoding in zip(
            rows,
            encoded["input_ids"],
            encoded["token_type_ids"],
            encoded.encodings or (),
            strict=True,
        ):
            input_ids[row], type_ids[row] = ids, types
            is_cut[row] = bool(encoding.overflowing)
    return input_ids, type_ids, is_cut
