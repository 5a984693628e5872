"""Seven rows made by hand, with labels of every kind and logits that all differ."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline.tasks.task import BY_TOKEN, Unit
from pipeline.text.tokens import IGNORED, UNLABELLED, TokenSplit

LENGTHS = (3, 5, 2, 4, 3, 6, 2)
N_LABELS = 3
CHOICES = (2, 1, 4)
"""Rows of each question."""


def make_split(labels: list[list[Any]], *, choices: tuple[int, ...] | None = None) -> TokenSplit:
    """Return rows of LENGTHS tokens with these labels; `choices` makes questions of them."""
    joined = [label for of_row in labels for label in of_row]
    n_rows, sizes = len(LENGTHS), [1] * len(LENGTHS) if choices is None else choices
    tokens = np.arange(sum(LENGTHS), dtype=np.int32)
    return TokenSplit(
        keys=np.zeros(n_rows, "V16"),
        offsets=np.cumsum([0, *LENGTHS]),
        input_ids=tokens,
        token_type_ids=0 * tokens,
        labels=np.array(joined),
        label_offsets=np.cumsum([0, *map(len, labels)]),
        first_rows=np.cumsum([0, *sizes]),
        table=pa.table({}),
    )


ROWS = make_split([[0], [2], [UNLABELLED], [1], [0], [2], [1]])
NUMBERS = make_split([[0.5], [2.0], [np.nan], [-1.0], [0.0], [3.5], [1.0]])
SEVERAL = make_split(
    [[0, 1, 1], [0, 0, 0], [UNLABELLED] * 3, [1, 1, 1], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
)
NOT = IGNORED
WORDS = make_split(
    [
        [NOT, 2, NOT],
        [NOT, 0, 1, NOT, NOT],
        [NOT, NOT],  # a row without a word
        [NOT, UNLABELLED, UNLABELLED, NOT],
        [NOT, 1, NOT],
        [NOT, 0, UNLABELLED, 2, NOT, NOT],  # one word has no label
        [NOT, NOT],
    ]
)
QUESTIONS = make_split([[0], [1], [1], [0], [0], [1], [0]], choices=CHOICES)
SPANS = make_split([[1, 1], [2, 4], [0, 0], [UNLABELLED] * 2, [0, 0], [1, 5], [UNLABELLED] * 2])
UNITS: dict[str, tuple[Unit, TokenSplit]] = {
    "row": ("row", ROWS),
    "number": ("row", NUMBERS),
    "label": ("label", SEVERAL),
    "token": ("token", WORDS),
    "choice": ("choice", QUESTIONS),
    "span": ("span", SPANS),
}


def flat_logits(unit: Unit, split: TokenSplit) -> torch.Tensor:
    """Return different numbers for all that a model says of the split."""
    n_flat = len(split.input_ids) if unit in BY_TOKEN else len(split)
    n_labels = {"choice": 1, "span": 2}.get(unit, N_LABELS)
    return torch.randn(n_flat, n_labels, generator=torch.Generator().manual_seed(0))


def of_rows(unit: Unit, split: TokenSplit, rows: list[int]) -> torch.Tensor:
    """Return those of these rows, one after the other, as a model gives them for a batch."""
    whole = flat_logits(unit, split)
    if unit not in BY_TOKEN:
        return whole[rows]
    return torch.cat([whole[:0], *(whole[split.offsets[r] : split.offsets[r + 1]] for r in rows)])
