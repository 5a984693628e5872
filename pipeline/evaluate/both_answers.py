"""What a student and its teacher answer for a split: the one is run, the other is read."""

from dataclasses import replace

import numpy as np
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from pipeline.evaluate.settings import WritingSettings
from pipeline.metrics import METRICS
from pipeline.metrics.answers import Answers, FlatLogits, WrittenTexts, answers_of
from pipeline.models.inputs import ModelRows
from pipeline.models.predict import predict, predict_pieces
from pipeline.models.writing import write_texts
from pipeline.store.reader import TeacherStore
from pipeline.tasks.pieces import PiecePredictions, teacher_classes
from pipeline.tasks.task import Task
from pipeline.text.tokens import Tokens, TokenSplit

Said = FlatLogits | PiecePredictions


def both_answers(
    student: PreTrainedModel,
    rows: ModelRows,
    split: TokenSplit,
    store: TeacherStore,
    tokens: Tokens,
    task: Task,
    generation: WritingSettings,
    generated: TokenSplit | None,
) -> tuple[Answers, Answers]:
    """Return the student's answers for a whole split, and the teacher's.

    `rows` are those of `split` as the student reads it. Of a task that predicts word pieces
    both answer in the teacher's classes, and nothing of the whole vocabulary is kept. Where
    models are judged by texts, the student writes its own; `generated` has the teacher's, for
    the same rows, if it wrote any.

    Raises:
        StoreIncompleteError: the store lacks rows, or the teacher's largest logits.
    """
    numbers = store.find(split.keys)
    ours, theirs = (
        answers_of(said, one, task.predicts, tokens.labels)
        for said, one in (
            (_student(student, rows, store, numbers, task), rows.split),
            (_teacher(store, numbers, task), split),
        )
    )
    if not any(METRICS[name].reads_texts for name in task.metrics):
        return ours, theirs
    known = np.flatnonzero(split.n_targets)
    if not len(known):
        return ours, theirs
    right = _texts(split, known)
    written = write_texts(
        student,
        rows.split,
        known.tolist(),
        rows.tokenizer,
        n_beams=generation.n_beams,
        max_new_tokens=generation.max_new_tokens or tokens.max_length,
    )
    ours = replace(ours, written=WrittenTexts(written, right))
    if generated is not None:
        theirs = replace(theirs, written=WrittenTexts(_texts(generated, known), right))
    return ours, theirs


def _student(
    student: PreTrainedModel,
    rows: ModelRows,
    store: TeacherStore,
    numbers: NDArray[np.int64],
    task: Task,
) -> Said:
    if task.predicts != "piece":
        return predict(student, rows.split, rows.inputs, predicts=task.predicts)

    def pieces_of(chosen: NDArray[np.int64]) -> Int[Tensor, "target k"]:
        return store.top_logits(numbers[chosen].tolist()).pieces.long()

    return predict_pieces(student, rows.split, rows.inputs, pieces_of=pieces_of)


def _teacher(store: TeacherStore, numbers: NDArray[np.int64], task: Task) -> Said:
    if task.predicts != "piece":
        logits: FlatLogits = store.logits(numbers.tolist()).numpy()
        return logits
    top = store.top_logits(numbers.tolist())
    return PiecePredictions(
        log_probabilities=(top.target - top.log_sum_exp).numpy(),
        predicted=top.pieces[:, 0].long().numpy(),
        classes=teacher_classes(top.values, top.log_sum_exp).numpy(),
        of_predicted=(top.values[:, 0] - top.log_sum_exp).numpy(),
    )


def _texts(split: TokenSplit, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the texts that are to be written for these rows."""
    return tuple(text.strip() for text in split.table["text_pair"].take(rows).to_pylist())
