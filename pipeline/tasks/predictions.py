"""What a task predicts, as one table: a row for each prediction, a column for each class.

Losses, metrics and the report see nothing else of a model's logits, so that they need not
know whether a prediction is about a text, one of its labels, a word, a question's choices, or
the tokens that an answer begins or ends with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.tasks.task import Unit
from pipeline.text.tokens import IGNORED, UNLABELLED, Labels, TokenSplit

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int
    from torch import Tensor

ABSENT = -1e4
"""The logit of a choice that a question does not have, or of a token that a row does not: no
exponential of it is above zero."""


@dataclass(frozen=True)
class Targets:
    """What is to be predicted of some examples."""

    labels: Labels
    """(prediction,): the number of the right class, or the right number; -1, or not a number,
    where it is not known."""
    places: NDArray[np.int64] | None
    """Where in a model's flat logits the predictions are: (prediction,), the tokens that words
    begin with; (prediction, class), a question's choices or a row's tokens, -1 where there is
    none. None: all, in their order."""
    n_rows: int


def targets_of(split: TokenSplit, examples: NDArray[np.int64], predicts: Unit) -> Targets:
    """Return what is to be predicted of these examples, in this order."""
    rows = split.rows_of(examples)
    labels = split.labels_of(rows)
    if predicts == "token":
        places = np.flatnonzero(labels != IGNORED)
        return Targets(labels[places], places, len(rows))
    if predicts == "choice":
        counts = split.first_rows[examples + 1] - split.first_rows[examples]
        places = places_of_parts(counts)
        is_right = np.where(places < 0, 0, labels[places.clip(min=0)])
        is_known = (is_right >= 0).all(1)
        return Targets(np.where(is_known, is_right.argmax(1), UNLABELLED), places, len(rows))
    if predicts == "span":
        tokens = places_of_parts(split.lengths[rows])
        ends = np.stack([2 * tokens, 2 * tokens + 1], 1).reshape(2 * len(rows), tokens.shape[1])
        return Targets(labels, np.where(ends < 0, -1, ends), len(rows))
    return Targets(labels, None, len(rows))


def places_of_parts(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each part (whole, part) among all, -1 where there is none.

    Parts are a question's choices or a row's tokens; each whole has as many as `counts` says.
    """
    columns = np.arange(counts.max(initial=1))
    first = np.cumsum(counts) - counts
    return np.where(columns < counts[:, None], first[:, None] + columns, -1)


def is_there(logits: Float[Tensor, "prediction class"]) -> Bool[Tensor, "prediction class"]:
    """Say which classes of arranged float32 logits are there, and not choices that are absent."""
    return logits != ABSENT


def arrange(
    logits: Float[Tensor, "flat width"], predicts: Unit, places: Int[Tensor, ...] | None
) -> Float[Tensor, "prediction class"]:
    """Return a model's flat logits as predictions; `places` as in `Targets`.

    Flat are the logits of rows after one another, (row, label), of their real tokens, (token,
    label), or of choices, (row, 1). A row's two predictions of a span are its first token and
    its last one. A label that may be there or not is a prediction of two
    classes with the logits 0 and z, whose softmax is the sigmoid of z.
    """
    import torch

    if predicts == "label":
        return torch.stack([torch.zeros_like(logits), logits], -1).view(-1, 2)
    if places is None:
        return logits
    if places.ndim == 1:
        return logits[places]
    chosen = logits.reshape(-1)[places.clamp(min=0)]
    return chosen.masked_fill(places < 0, ABSENT)
