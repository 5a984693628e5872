"""Both models' predictions for a split: the student is run, the teacher is read, both are written.

`SPLIT.arrow` has a prediction in each row: `row` is its row in the split, `place` its number among
that row's (of a word, or of a label; 0 where there is one). The texts are dictionaries, so that
one of many words is there once. A question has its choices' texts in `choices`. The tokens
that an answer begins or ends with are as texts in `label_token` and so on; so are token ids of a
language model, whose further columns are described below. Its logits are of the teacher's classes.

`SPLIT-texts.arrow` has what both models wrote, or answered to questions, so that scores of texts
can be recomputed. A row is a labelled text or question of the split, in the split's order: `number`
is its number there, from 0, and `row` its row of the token table, of a question its first window.
`text` is what was read, of a question the question alone. `references` has every right text: the
accepted answers, none where there is no answer, or the text that was to be written. `student`
and `teacher` are as they are scored; an empty answer says that there is none, and `teacher` is
null where its own texts are not at hand.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from pipeline.evaluate.settings import WritingSettings
from pipeline.metrics import METRICS
from pipeline.models.inputs import ModelRows
from pipeline.models.predict import predict
from pipeline.models.writing import write_texts
from pipeline.store.reader import TeacherStore
from pipeline.tasks.pieces import teacher_classes
from pipeline.tasks.predictions import InVocabulary, Predictions, WrittenTexts, predictions_of
from pipeline.tasks.question_answering import NO_ANSWER
from pipeline.tasks.task import Task
from pipeline.text.token_row import token_names
from pipeline.text.tokens import Tokens, TokenSplit

N_AROUND = 12
"""Tokens that are shown before a label position, and behind it."""

_TEXTS_SCHEMA = pa.schema(
    {
        "number": pa.int32(),
        "row": pa.int32(),
        "text": pa.string(),
        "references": pa.list_(pa.string()),
        "student": pa.string(),
        "teacher": pa.string(),
    }
)


def predict_both(
    student: PreTrainedModel,
    rows: ModelRows,
    split: TokenSplit,
    store: TeacherStore,
    tokens: Tokens,
    task: Task,
    generation: WritingSettings,
    generated: TokenSplit | None,
) -> tuple[Predictions, Predictions]:
    """Return the student's predictions for a whole split, and the teacher's.

    `rows` are those of `split` as the student reads it. Language models both predict
    in the teacher's classes, and nothing of the whole vocabulary is kept. Where
    models are judged by texts, the student writes its own; `generated` has the teacher's, for
    the same rows, if it wrote any.

    Raises:
        StoreIncompleteError: the store lacks rows, or the teacher's top-k logits.
    """
    numbers = store.find(split.keys)
    is_of_vocabulary = task.predicts == "piece"

    def top_of(chosen: NDArray[np.int64]) -> Int[Tensor, "target k"]:
        return store.top_logits(numbers[chosen].tolist()).pieces.long()

    top = top_of if is_of_vocabulary else None
    ours = predict(student, rows, task, tokens.labels, top_of=top)
    if is_of_vocabulary:
        theirs = _from_top_logits(store, numbers, split, task)
    else:
        flat = store.logits(numbers.tolist()).numpy()
        theirs = predictions_of(flat, split, task, tokens.labels)
    if not any(METRICS[name].reads_texts for name in task.metrics):
        return ours, theirs
    known = np.flatnonzero(split.n_targets)
    if not len(known):
        return ours, theirs
    right = _texts_to_write(split, known)
    written = write_texts(
        student,
        rows.split,
        known.tolist(),
        rows.tokenizer,
        num_beams=generation.num_beams,
        max_new_tokens=generation.max_new_tokens or tokens.max_length,
    )
    ours = replace(ours, written=WrittenTexts(written, right))
    if generated is not None:
        theirs = replace(theirs, written=WrittenTexts(_texts_to_write(generated, known), right))
    return ours, theirs


def _from_top_logits(
    store: TeacherStore, numbers: NDArray[np.int64], split: TokenSplit, task: Task
) -> Predictions:
    top = store.top_logits(numbers.tolist())
    in_vocabulary = InVocabulary(
        of_label=(top.target - top.log_sum_exp).numpy(),
        first=top.pieces[:, 0].long().numpy(),
        of_first=(top.values[:, 0] - top.log_sum_exp).numpy(),
    )
    classes = teacher_classes(top.values, top.log_sum_exp).numpy()
    return predictions_of(classes, split, task, (), in_vocabulary)


def _texts_to_write(split: TokenSplit, rows: NDArray[np.int64]) -> tuple[str, ...]:
    """Return the texts that are to be written for these rows."""
    return tuple(text.strip() for text in split.table["text_pair"].take(rows).to_pylist())


def write_predictions(
    path: Path,
    split: TokenSplit,
    student: Predictions,
    teacher: Predictions,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> None:
    """Write the arranged logits of both models for all predictions of a split.

    The labels are the teacher's, which reads the table's own tokens. `tokenizer` names
    token ids, where these are predicted.
    """
    columns = {
        "row": pa.array(teacher.rows, pa.int32()),
        "place": pa.array(_places(teacher.rows), pa.int32()),
        "text": _texts(split, "text", teacher.rows),
        "text_pair": _texts(split, "text_pair", teacher.rows),
        "label": pa.array(teacher.labels),
        "student_logits": _lists(student.logits),
        "teacher_logits": _lists(teacher.logits),
    }
    if teacher.predicts == "choice":
        columns["choices"] = _choices(split)
    if teacher.predicts == "span":
        for name, tokens in (
            ("label", teacher.labels.astype(np.int64)),
            ("student", student.predicted),
            ("teacher", teacher.predicted),
        ):
            columns[f"{name}_token"] = _token_texts(split, teacher.rows, tokens)
    if teacher.predicts == "piece":
        assert tokenizer is not None, "token ids have names"
        columns |= _vocabulary_columns(split, student, teacher, tokenizer)
    table = pa.table(columns)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _places(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each prediction's number among those of its row; a row's are neighbours."""
    numbers = np.arange(len(rows))
    is_first = np.diff(rows, prepend=-1) != 0
    return numbers - np.maximum.accumulate(np.where(is_first, numbers, 0))


def _texts(split: TokenSplit, column: str, rows: NDArray[np.int64]) -> pa.DictionaryArray:
    """Return the text of each prediction's row; only the distinct rows' texts are copied."""
    distinct, places = np.unique(rows, return_inverse=True)
    texts = split.table[column].combine_chunks().take(pa.array(distinct)).dictionary_encode()
    indices = texts.indices.take(pa.array(places))
    return pa.DictionaryArray.from_arrays(indices, texts.dictionary)


def _choices(split: TokenSplit) -> pa.ListArray:
    """Return the texts of each question's choices, which are the second texts of its rows."""
    texts = split.table["text_pair"].combine_chunks()
    return pa.ListArray.from_arrays(pa.array(split.first_rows, pa.int32()), texts)


def _token_texts(split: TokenSplit, rows: NDArray[np.int64], tokens: NDArray[np.int64]) -> pa.Array:
    """Return the text of a token of each of these rows; null where the token is unknown.

    The row's first token says that there is no answer, or none in this window of several or of a
    text that has one.
    """
    first = split.offsets[rows]
    starts, ends = (
        np.asarray(split.table[name].combine_chunks().flatten())[first + tokens.clip(min=0)]
        for name in ("char_starts", "char_ends")
    )
    texts = split.table["text_pair"].combine_chunks()
    accepted = split.table["answers"].to_pylist()
    has_none = [answers is not None and not answers for answers in accepted]
    found = [
        None
        if token < 0
        else "no answer"
        if token == NO_ANSWER and has_none[row]
        else "not in this window"
        if token == NO_ANSWER
        else "a token of the question"
        if start < 0
        else texts[row].as_py()[start:end]
        for row, token, start, end in zip(rows, tokens, starts, ends, strict=True)
    ]
    return pa.array(found, pa.string())


def _lists(logits: Float[np.ndarray, "prediction class"]) -> pa.Array:
    values = pa.array(logits.astype(np.float32).reshape(-1))
    n_predictions, n_classes = logits.shape
    offsets = pa.array(np.arange(n_predictions + 1) * n_classes, pa.int32())
    return pa.ListArray.from_arrays(offsets, values)


def _vocabulary_columns(
    split: TokenSplit,
    student: Predictions,
    teacher: Predictions,
    tokenizer: PreTrainedTokenizerFast,
) -> dict[str, pa.Array]:
    """Return the columns of predicted token ids.

    `label_token`, `student_token` and `teacher_token` are ids as the tokenizer names them,
    `student_confidence` and `teacher_confidence` the probabilities of the two that are put
    first, and `context` has the place itself between angle quotes.
    """
    columns = {
        f"{who}_token": _names(pieces, tokenizer)
        for who, pieces in (
            ("label", teacher.labels.astype(np.int64)),
            ("student", student.predicted),
            ("teacher", teacher.predicted),
        )
    }
    for who, predictions in (("student", student), ("teacher", teacher)):
        whole = predictions.in_vocabulary
        assert whole is not None and whole.of_first is not None, "beside a teacher"
        odds = np.exp(np.minimum(whole.of_first, 0.0))  # rounding may leave it above
        columns[f"{who}_confidence"] = pa.array(odds.astype(np.float32))
    columns["context"] = pa.array(_contexts(split, tokenizer), pa.string())
    return columns


def _names(pieces: NDArray[np.int64], tokenizer: PreTrainedTokenizerFast) -> pa.Array:
    known, places = np.unique(pieces, return_inverse=True)
    return pa.array(token_names(known.tolist(), tokenizer), pa.string()).take(pa.array(places))


def _contexts(split: TokenSplit, tokenizer: PreTrainedTokenizerFast) -> Iterator[str]:
    for number in range(len(split)):
        row = split.row(number)
        assert row.asked is not None, "rows have label positions"
        if row.asked.decoder_ids is not None:
            for place in range(len(row.asked.pieces)):
                given = row.asked.decoder_ids[max(1, place + 1 - N_AROUND) : place + 1]
                yield f"{tokenizer.decode(given.tolist())} »?«".strip()
            continue
        for place in row.asked.places.tolist():
            parts = (
                row.ids[max(0, place - N_AROUND) : place],
                row.ids[place : place + 1],
                row.ids[place + 1 : place + 1 + N_AROUND],
            )
            before, hidden, after = (str(tokenizer.decode(part.tolist())) for part in parts)
            yield f"{before} »{hidden.strip()}« {after}".strip()


def write_texts_file(
    path: Path, split: TokenSplit, student: Predictions, teacher: Predictions
) -> None:
    """Write the texts of both models for a whole split, or no file where there are none."""
    table = _written(split, student, teacher) or _answered(split, student, teacher)
    if table is None:
        return
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _TEXTS_SCHEMA) as writer:
        writer.write_table(table)


def question_rows(split: TokenSplit) -> NDArray[np.int64]:
    """Return the first window of each question of a split."""
    return np.flatnonzero(np.asarray(split.table["window"].combine_chunks()) == 0)


def _written(split: TokenSplit, student: Predictions, teacher: Predictions) -> pa.Table | None:
    if student.written is None:
        return None
    rows = np.flatnonzero(split.n_targets)
    theirs = None if teacher.written is None else teacher.written.written
    references = [[text] for text in student.written.right]
    return _texts_table(split, rows, rows, references, student.written.written, theirs)


def _answered(split: TokenSplit, student: Predictions, teacher: Predictions) -> pa.Table | None:
    if student.texts is None or teacher.texts is None:
        return None
    rows = question_rows(split)
    numbers = np.flatnonzero(
        split.table["answers"].combine_chunks().is_valid().take(pa.array(rows))
    )
    references = [list(accepted) for accepted in teacher.texts.accepted]
    return _texts_table(
        split, numbers, rows[numbers], references, student.texts.given, teacher.texts.given
    )


def _texts_table(
    split: TokenSplit,
    numbers: NDArray[np.int64],
    rows: NDArray[np.int64],
    references: list[list[str]],
    student: tuple[str, ...],
    teacher: tuple[str, ...] | None,
) -> pa.Table:
    columns = {
        "number": pa.array(numbers, pa.int32()),
        "row": pa.array(rows, pa.int32()),
        "text": split.table["text"].take(pa.array(rows)),
        "references": references,
        "student": student,
        "teacher": pa.nulls(len(rows), pa.string()) if teacher is None else teacher,
    }
    return pa.table(columns, schema=_TEXTS_SCHEMA)
