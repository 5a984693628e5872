"""Questions about texts as rows of a token table: each a window, the question and a part.

A text that does not fit is read in several windows of as many tokens as fit; each but the
first begins with some tokens that the one before it ends with.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.errors import DataError
from pipeline.text.rows import TokenisedTexts, make_rows
from pipeline.text.tokens import NO_ANSWER, UNLABELLED

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

Answer = Mapping[str, Any]
"""`text`, and `start`, its first character's place."""

NOWHERE = -1
"""The place in the text of a token that is not of it."""


def tokenise_windows(
    questions: Sequence[str],
    texts: Sequence[str],
    answers: Sequence[Sequence[Answer] | None],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    stride: int,
    split: str,
    first_row: int,
) -> TokenisedTexts:
    """Tokenise each question with its text behind it, in as many windows as are needed.

    Neighbouring windows share `stride` tokens, but at most half of those that the question
    leaves room for. A window is labelled with the first of the `answers`, without blanks
    around it; one that is whole in no window is counted (`n_answers_lost`). `split` and the
    number of the first question, `first_row`, are for messages.

    Raises:
        DataError: a question leaves no room for its text, or the windows do not reach from the
            text's beginning to its end.
    """
    windows = _windows(questions, texts, tokenizer, max_length, stride, split, first_row)
    labels, n_lost = [], 0
    for of_one, text, accepted in zip(windows, texts, answers, strict=True):
        found = _labels(of_one, text, accepted)
        n_lost += bool(accepted) and all(first == NO_ANSWER for first, _ in found)
        labels += found
    all_windows = [*chain(*windows)]
    counts = [len(of_one) for of_one in windows]
    places = [_places(window) for window in all_windows]
    said = [accepted and [answer["text"] for answer in accepted] for accepted in answers]
    rows = make_rows(
        [window.ids for window in all_windows],
        [window.type_ids for window in all_windows],
        pa.array(labels, pa.list_(pa.int64())),
        _repeated(questions, counts),
        _repeated(texts, counts),
        "answers",
        [
            [number for count in counts for number in range(count)],
            [starts for starts, _ in places],
            [ends for _, ends in places],
            _repeated(said, counts),
        ],
    )
    return TokenisedTexts(rows, np.zeros(len(all_windows), dtype=bool), {"n_answers_lost": n_lost})


def _windows(
    questions: Sequence[str],
    texts: Sequence[str],
    tokenizer: "PreTrainedTokenizerFast",
    max_length: int,
    stride: int,
    split: str,
    first_row: int,
) -> list[list["Encoding"]]:
    """Return the windows of each question."""
    ids = tokenizer(list(questions), add_special_tokens=False, return_attention_mask=False)
    lengths = np.array([len(row) for row in ids["input_ids"]], dtype=np.int64)
    room = max_length - tokenizer.num_special_tokens_to_add(pair=True) - lengths
    if (room < 1).any():
        row = int((room < 1).argmax())
        raise DataError(
            f"{split}: the question of row {first_row + row} is {lengths[row]} tokens long, which "
            f"leaves no room for its text in rows of {max_length}. Raise tokenizer.max_length, or "
            "shorten the question."
        )
    found: list[list[Encoding]] = [[]] * len(questions)
    shared = np.minimum(stride, room // 2)
    for own_stride in np.unique(shared).tolist():
        rows = np.flatnonzero(shared == own_stride).tolist()
        encoded = tokenizer(
            [questions[row] for row in rows],
            [texts[row] for row in rows],
            truncation="only_second",
            max_length=max_length,
            stride=own_stride,
            return_token_type_ids=True,
        )
        for row, encoding in zip(rows, encoded.encodings or (), strict=True):
            found[row] = [encoding, *encoding.overflowing]
    for row, windows in enumerate(found):
        if len(windows) > 1:
            whole = tokenizer(
                [questions[row]], [texts[row]], return_attention_mask=False, verbose=False
            )[0]
            _check_ends(windows, whole, f"{split}: row {first_row + row}")
    return found


def _check_ends(windows: Sequence["Encoding"], whole: "Encoding", place: str) -> None:
    """Refuse windows that do not begin and end where the text does; `whole` has all its tokens."""
    spans = [np.array(one.offsets)[_is_of_text(one)] for one in (*windows, whole)]
    first, last, every = spans[0], spans[-2], spans[-1]
    if (first[0] != every[0]).any() or (last[-1] != every[-1]).any():
        raise DataError(
            f"{place}: its windows cover characters {first[0][0]} to {last[-1][1]} of a text whose "
            f"tokens are at {every[0][0]} to {every[-1][1]}: the tokenizer cuts texts at their "
            "beginnings. Set truncation_side to right in its tokenizer_config.json."
        )


def _labels(
    windows: Sequence["Encoding"], text: str, answers: Sequence[Answer] | None
) -> list[list[int]]:
    """Return the first and the last token of the first answer, for each window of a text."""
    if answers is None:
        return [[UNLABELLED, UNLABELLED] for _ in windows]
    if not answers:
        return [[NO_ANSWER, NO_ANSWER] for _ in windows]
    said = answers[0]["text"]
    begin = answers[0]["start"] + len(said) - len(said.lstrip())
    end = begin + len(said.strip())
    labels = []
    for number, window in enumerate(windows):
        tokens = np.flatnonzero(_is_of_text(window))
        starts, ends = np.array(window.offsets)[tokens].reshape(-1, 2).T
        # Characters without a token, such as blanks, are of the windows at the text's ends.
        is_first, is_last = number == 0, number == len(windows) - 1
        is_begun = is_first or (len(tokens) and starts[0] <= begin)
        is_ended = is_last or (len(tokens) and end <= ends[-1])
        within = tokens[(ends > begin) & (starts < end)]
        is_whole = is_begun and is_ended and len(within)
        labels.append([int(within[0]), int(within[-1])] if is_whole else [NO_ANSWER, NO_ANSWER])
    return labels


def _is_of_text(window: "Encoding") -> NDArray[np.bool_]:
    """Say which tokens are of the second text."""
    return np.array([sequence == 1 for sequence in window.sequence_ids], dtype=bool)


def _places(window: "Encoding") -> tuple[list[int], list[int]]:
    """Return where each token begins and ends in the second text."""
    is_of_text = _is_of_text(window)[:, None]
    starts, ends = np.where(is_of_text, np.array(window.offsets), NOWHERE).T
    return starts.tolist(), ends.tolist()


def _repeated(values: Sequence[Any], counts: Sequence[int]) -> list[Any]:
    return [value for value, count in zip(values, counts, strict=True) for _ in range(count)]
