"""What a task predicts, as one table: a row for each prediction, a column for each class.

Losses, metrics and the report see nothing else of a model's logits, so that they need not
know whether a prediction is about a text, one of its labels, a word, a question's choices, or
the tokens that an answer begins or ends with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pipeline.core.errors import DataError, SignalError
from pipeline.text.tokens import IGNORED, UNLABELLED, Labels, TokenSplit, is_labelled

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Float64, Int
    from torch import Tensor

    from pipeline.tasks.task import Task, Unit

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


@dataclass(frozen=True)
class InVocabulary:
    """What a language model says of each prediction over its whole vocabulary."""

    of_label: Float[np.ndarray, " prediction"]
    """The label's log-probability, in nats."""
    first: Int[np.ndarray, " prediction"]
    """The likeliest token id."""
    of_first: Float[np.ndarray, " prediction"] | None = None
    """Its log-probability, where there is a teacher: it may be none of the teacher's classes."""


@dataclass(frozen=True)
class AnswerTexts:
    """A model's answers to the labelled questions, beside those that are right."""

    given: tuple[str, ...]
    """Empty where the model says that there is none."""
    accepted: tuple[tuple[str, ...], ...]
    """Of each question; none where there is no answer."""


@dataclass(frozen=True)
class WrittenTexts:
    """The texts that a model wrote for all rows that ask for one, beside those that are right."""

    written: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Predictions:
    """A model's predictions for a split, beside the labels."""

    logits: Float[np.ndarray, "prediction class"]
    """Pre-softmax, or for a number the number itself, one class. Of a language model those of the
    teacher's classes (`tasks.pieces`); without a class where there is no teacher."""
    labels: Labels
    """(prediction,): numbers of classes or token ids, -1 where there is none; or numbers
    that are to be predicted, not a number where there is none."""
    rows: Int[np.ndarray, " prediction"]
    """The row that each prediction is about: the first, of a question's choices. Neighbours
    in it are neighbours here."""
    predicts: Unit
    names: tuple[str, ...]
    """Label names, in order of their numbers."""
    in_vocabulary: InVocabulary | None = None
    """Language models only."""
    texts: AnswerTexts | None = None
    """Question answering only, where there is a labelled question."""
    written: WrittenTexts | None = None
    """Where the model wrote texts."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class, or the token id, that the model puts first."""
        if self.in_vocabulary is not None:
            return self.in_vocabulary.first.astype(np.int64)
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Which predictions have a label."""
        return is_labelled(self.labels)

    def labelled(self) -> Predictions:
        """Return the predictions with a label, their logits in float64.

        Raises:
            DataError: the shapes do not fit, or a label is not a column of the logits.
            SignalError: a logit is infinite or not a number.
        """
        if self.labels.shape != self.logits.shape[:1] or self.rows.shape != self.labels.shape:
            raise DataError(f"labels have shape {self.labels.shape}, logits {self.logits.shape}")
        kept = self.is_labelled
        labels, whole = self.labels[kept], self.in_vocabulary
        if not np.issubdtype(labels.dtype, np.floating):
            labels = labels.astype(np.int64)
            if len(labels) and whole is None:
                _require_columns(labels, n_columns=self.logits.shape[1])
        if whole is not None:
            of_label = exact(whole.of_label[kept], "log-probabilities")
            whole = InVocabulary(of_label, whole.first[kept])
        return replace(
            self,
            logits=exact(self.logits[kept], "logits"),
            labels=labels,
            rows=self.rows[kept],
            in_vocabulary=whole,
        )


def predictions_of(
    logits: Float[np.ndarray, "flat width"],
    split: TokenSplit,
    task: Task,
    names: tuple[str, ...],
    in_vocabulary: InVocabulary | None = None,
) -> Predictions:
    """Return a model's flat logits of a whole split as predictions, beside the labels.

    Of a language model `logits` are of the label positions, in the teacher's classes.
    """
    import torch

    targets = targets_of(split, np.arange(split.n_examples), task.predicts)
    places = None if targets.places is None else torch.from_numpy(targets.places)
    return Predictions(
        arrange(torch.from_numpy(np.array(logits)), task.predicts, places).numpy(),
        targets.labels,
        _rows_of(split, targets.places, task.predicts),
        task.predicts,
        names,
        in_vocabulary,
        task.answer_texts(logits, split),
    )


def exact(logits: Float[np.ndarray, ...], name: str) -> Float64[np.ndarray, ...]:
    """Return a float64 copy, which may be made of read-only memory and of half precision.

    Raises:
        SignalError: a logit is infinite or not a number.
    """
    copied = np.array(logits, dtype=np.float64)
    n_bad = int(np.count_nonzero(~np.isfinite(copied)))
    if n_bad:
        raise SignalError(
            f"{name}: {n_bad:,} of {copied.size:,} values are infinite or not a number, "
            "so no metric of them means anything. Look at the training that made them."
        )
    return copied


def _rows_of(
    split: TokenSplit, places: NDArray[np.int64] | None, predicts: Unit
) -> NDArray[np.int64]:
    """Return the row of each prediction of a whole split."""
    if predicts == "choice":
        return split.first_rows[:-1]
    rows = np.repeat(np.arange(len(split)), np.diff(split.label_offsets))
    return rows if places is None or predicts == "span" else rows[places]


def _require_columns(labels: NDArray[np.int64], n_columns: int) -> None:
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= n_columns:
        raise DataError(
            f"labels run from {low} to {high}, but the logits have {n_columns} columns "
            f"(0..{n_columns - 1}; {UNLABELLED} marks what has no label)"
        )
