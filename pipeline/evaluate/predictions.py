"""Both models' predictions for a split, as a file: for the report and whoever looks closer.

An Arrow row is a prediction: `row` is its row in the split, `place` its number among that
row's (of a word, or of a label; 0 where there is one). The texts are dictionaries, so that
one of many words is there once. A question has its choices' texts in `choices`. The tokens
that an answer begins or ends with are as texts in `label_token` and so on; so are word pieces,
whose further columns are `piece_columns`'s. Of these the logits are the teacher's classes.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from pipeline.evaluate.piece_columns import piece_columns
from pipeline.metrics.answers import Answers
from pipeline.tasks.question_answering import NO_ANSWER
from pipeline.text.tokens import TokenSplit


def write_predictions(
    path: Path,
    split: TokenSplit,
    student: Answers,
    teacher: Answers,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> None:
    """Write the arranged logits of both models for all predictions of a split.

    The labels are the teacher's, which reads the table's own tokens. `tokenizer` names word
    pieces, where these are predicted.
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
        assert tokenizer is not None, "word pieces have names"
        columns |= piece_columns(split, student, teacher, tokenizer)
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
