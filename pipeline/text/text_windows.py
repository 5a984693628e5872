"""Texts, one behind the other, as rows of a token table whose word pieces masks hide.

A row is a window: the tokenizer's special tokens around as many pieces as fit. Where a text
ends, the next begins in the same window, behind the special token that ends a row. No piece of
any text is lost, and none is in two windows; a text without a piece leaves nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from pipeline.core.errors import DataError
from pipeline.text.masks import NO_WORD, Masker
from pipeline.text.rows import TokenisedTexts, make_asking_rows
from pipeline.text.token_row import TokenRow

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerFast

_WINDOWS_AT_ONCE = 1000


@dataclass
class _Window:
    """What is between the special tokens at a window's ends."""

    ids: list[int] = field(default_factory=list)
    words: list[int] = field(default_factory=list)
    """Which word each piece is of; `NO_WORD` for what separates texts."""
    texts: list[str] = field(default_factory=list)
    """The part of each text that the window covers."""


def tokenise_text_windows(
    texts: Iterable[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    masker: Masker,
    max_length: int,
) -> Iterator[TokenisedTexts]:
    """Cut texts, which come in chunks, into windows of at most `max_length` tokens.

    A row's text is what the window covers of each, from its first piece's first character to
    its last one's last, with a space between two texts.

    Raises:
        DataError: special tokens leave no room for a piece.
    """
    before, behind = _special_ends(tokenizer)
    room = max_length - len(before) - len(behind)
    if room < 1:
        raise DataError(
            f"the tokenizer adds {len(before) + len(behind)} special tokens, which leaves no room "
            f"for text in rows of {max_length}. Raise tokenizer.max_length."
        )
    windows = enumerate(_windows(texts, tokenizer, room, behind[-1:]))
    while some := list(islice(windows, _WINDOWS_AT_ONCE)):
        rows = []
        for number, window in some:
            ids = np.array([*before, *window.ids, *behind], dtype=np.int32)
            words = np.array(
                [NO_WORD] * len(before) + window.words + [NO_WORD] * len(behind), dtype=np.int64
            )
            shown, asked = masker.draw(number, ids, words)
            rows.append(TokenRow(shown, np.zeros_like(shown), asked))
        covered = [" ".join(window.texts) for _, window in some]
        table = make_asking_rows(rows, covered, None, "masked")
        yield TokenisedTexts(table, np.zeros(len(rows), dtype=bool))


def _special_ends(tokenizer: "PreTrainedTokenizerFast") -> tuple[list[int], list[int]]:
    """Return the special tokens that begin a row and those that end it."""
    encoding = tokenizer(["a"], return_attention_mask=False)[0]
    own = np.flatnonzero(np.array(encoding.special_tokens_mask) == 0)
    assert len(own), "a letter has a piece, if only the unknown one"
    return encoding.ids[: own[0]], encoding.ids[own[-1] + 1 :]


def _windows(
    texts: Iterable[Sequence[str]],
    tokenizer: "PreTrainedTokenizerFast",
    room: int,
    separator: Sequence[int],
) -> Iterator[_Window]:
    """Yield windows of at most `room` tokens; only the last may have room for a piece more."""
    window, n_words = _Window(), 0
    for text, encoding in _encoded(texts, tokenizer):
        words = [NO_WORD if word is None else n_words + word for word in encoding.word_ids]
        n_words, start = max([n_words, *(word + 1 for word in words)]), 0
        while start < len(encoding):
            if window.ids and len(window.ids) + len(separator) >= room:
                yield window
                window = _Window()
            if window.ids:
                window.ids += separator
                window.words += [NO_WORD] * len(separator)
            stop = min(len(encoding), start + room - len(window.ids))
            window.ids += encoding.ids[start:stop]
            window.words += words[start:stop]
            offsets = encoding.offsets[start:stop]
            window.texts.append(text[offsets[0][0] : offsets[-1][1]])
            start = stop
    if window.ids:
        yield window


def _encoded(
    texts: Iterable[Sequence[str]], tokenizer: "PreTrainedTokenizerFast"
) -> Iterator[tuple[str, "Encoding"]]:
    for chunk in texts:
        encoded = tokenizer(
            list(chunk), add_special_tokens=False, return_attention_mask=False, verbose=False
        )
        yield from zip(chunk, encoded.encodings or (), strict=True)
