"""What student and teacher say of the word pieces that a split asks for, in the same classes."""

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.evaluate.model_rows import ModelRows
from pipeline.store.reader import TeacherStore
from pipeline.tasks.pieces import PiecePredictions, teacher_classes
from pipeline.text.tokens import TokenSplit
from pipeline.train.predict import predict_pieces


def both_predictions(
    student: PreTrainedModel, rows: ModelRows, split: TokenSplit, store: TeacherStore
) -> tuple[PiecePredictions, PiecePredictions]:
    """Return the student's predictions for a whole split, and the teacher's.

    `rows` are those of `split` as the student reads it. The teacher is read, not run; each
    target has a number for each of its stored logits, and nothing of the whole vocabulary.

    Raises:
        StoreIncompleteError: the store lacks rows, or the teacher's largest logits.
    """
    numbers = store.find(split.keys)

    def pieces_of(chosen: NDArray[np.int64]) -> Int[Tensor, "target k"]:
        return store.top_logits(numbers[chosen].tolist()).pieces.long()

    ours = predict_pieces(
        student,
        rows.split,
        rows.pad_id,
        has_token_types=rows.has_token_types,
        pieces_of=pieces_of,
    )
    return ours, _stored(store, numbers)


def _stored(store: TeacherStore, numbers: NDArray[np.int64]) -> PiecePredictions:
    top = store.top_logits(numbers.tolist())
    values = top.values.float()
    return PiecePredictions(
        log_probabilities=(top.target - top.log_sum_exp).numpy(),
        predicted=top.pieces[:, 0].long().numpy(),
        classes=teacher_classes(values, top.log_sum_exp).numpy(),
        of_predicted=(values[:, 0] - top.log_sum_exp).numpy(),
    )
