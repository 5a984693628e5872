"""What a model answered and what is right, prediction by prediction."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Float64, Int
from numpy.typing import NDArray

from pipeline.core.errors import DataError, SignalError
from pipeline.metrics.spans import AnswerTexts, answer_texts
from pipeline.tasks.pieces import PiecePredictions
from pipeline.tasks.predictions import arrange, targets_of
from pipeline.tasks.task import Unit
from pipeline.text.tokens import UNLABELLED, Labels, TokenSplit, is_labelled

Logits = Float[np.ndarray, "prediction class"]
FlatLogits = Float[np.ndarray, "flat width"]


@dataclass(frozen=True)
class WrittenTexts:
    """The texts that a model wrote for all rows that ask for one, beside those that are right."""

    written: tuple[str, ...]
    right: tuple[str, ...]


@dataclass(frozen=True)
class Answers:
    """A model's predictions beside the labels."""

    logits: Logits
    """Pre-softmax, or for a number the number itself, one class. Of word pieces those of the
    teacher's classes; without a class where no teacher is compared with."""
    labels: Labels
    """(prediction,): numbers of classes or of word pieces, -1 where there is none; or numbers
    that are to be predicted, not a number where there is none."""
    rows: Int[np.ndarray, " prediction"]
    """The row that each prediction is about: the first, of a question's choices. Neighbours
    in it are neighbours here."""
    predicts: Unit
    names: tuple[str, ...]
    """Of the labels, in order of their numbers."""
    texts: AnswerTexts | None = None
    """Of the labelled questions that spans answer, if there are any."""
    pieces: PiecePredictions | None = None
    """Of a task that predicts word pieces."""
    written: WrittenTexts | None = None
    """Where the model wrote texts."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The class, or the word piece, that the model puts first."""
        if self.pieces is not None:
            return self.pieces.predicted.astype(np.int64)
        return np.asarray(self.logits.argmax(axis=1))

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Which predictions have a label."""
        return is_labelled(self.labels)

    def labelled(self) -> "Answers":
        """Return the predictions with a label, their logits in float64.

        Raises:
            DataError: the shapes do not fit, or a label is not a column of the logits.
            SignalError: a logit is infinite or not a number.
        """
        if self.labels.shape != self.logits.shape[:1] or self.rows.shape != self.labels.shape:
            raise DataError(f"labels have shape {self.labels.shape}, logits {self.logits.shape}")
        kept = self.is_labelled
        labels = self.labels[kept]
        if not np.issubdtype(labels.dtype, np.floating):
            labels = labels.astype(np.int64)
            if len(labels) and self.pieces is None:
                _require_columns(labels, n_columns=self.logits.shape[1])
        return replace(
            self,
            logits=exact(self.logits[kept], "logits"),
            labels=labels,
            rows=self.rows[kept],
            pieces=None if self.pieces is None else _of_targets(self.pieces, kept),
        )


def answers_of(
    said: FlatLogits | PiecePredictions,
    split: TokenSplit,
    predicts: Unit,
    names: tuple[str, ...],
    *,
    written: WrittenTexts | None = None,
) -> Answers:
    """Return what a model says of a whole split, beside the labels.

    `said` are its flat logits, or of a task that predicts word pieces its predictions of them.
    """
    examples = np.arange(split.n_examples)
    targets = targets_of(split, examples, predicts)
    rows = _rows_of(split, targets.places, predicts)
    if isinstance(said, PiecePredictions):
        logits = np.zeros((len(said.predicted), 0)) if said.classes is None else said.classes
        return Answers(logits, targets.labels, rows, predicts, names, pieces=said, written=written)
    import torch

    places = None if targets.places is None else torch.from_numpy(targets.places)
    return Answers(
        arrange(torch.from_numpy(np.array(said)), predicts, places).numpy(),
        targets.labels,
        rows,
        predicts,
        names,
        answer_texts(said, split) if predicts == "span" else None,
    )


def exact(logits: Float[np.ndarray, "..."], name: str) -> Float64[np.ndarray, "..."]:
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


def _of_targets(pieces: PiecePredictions, kept: NDArray[np.bool_]) -> PiecePredictions:
    """Return these of all predictions, what they say of the right pieces in float64."""
    return replace(
        pieces,
        log_probabilities=exact(pieces.log_probabilities[kept], "log-probabilities"),
        predicted=pieces.predicted[kept],
        classes=None if pieces.classes is None else pieces.classes[kept],
    )


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
