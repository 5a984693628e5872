"""What both models wrote, or answered to questions, as a file: scores of texts can be recomputed.

An Arrow row is a labelled text or question of the split, in the split's order: `number` is its
number there, from 0, and `row` its row of the token table, of a question its first window.
`text` is what was read, of a question the question alone. `references` has every right text: the
accepted answers, none where there is no answer, or the text that was to be written. `student`
and `teacher` are as they are scored; an empty answer says that there is none, and `teacher` is
null where its own texts are not at hand.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.metrics.answers import Answers
from pipeline.text.tokens import TokenSplit

_SCHEMA = pa.schema(
    {
        "number": pa.int32(),
        "row": pa.int32(),
        "text": pa.string(),
        "references": pa.list_(pa.string()),
        "student": pa.string(),
        "teacher": pa.string(),
    }
)


def write_texts_file(path: Path, split: TokenSplit, student: Answers, teacher: Answers) -> None:
    """Write the texts of both models for a whole split, or no file where there are none."""
    table = _written(split, student, teacher) or _answered(split, student, teacher)
    if table is None:
        return
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        writer.write_table(table)


def question_rows(split: TokenSplit) -> NDArray[np.int64]:
    """Return the first window of each question of a split."""
    return np.flatnonzero(np.asarray(split.table["window"].combine_chunks()) == 0)


def _written(split: TokenSplit, student: Answers, teacher: Answers) -> pa.Table | None:
    if student.written is None:
        return None
    rows = np.flatnonzero(split.n_targets)
    theirs = None if teacher.written is None else teacher.written.written
    references = [[text] for text in student.written.right]
    return _table(split, rows, rows, references, student.written.written, theirs)


def _answered(split: TokenSplit, student: Answers, teacher: Answers) -> pa.Table | None:
    if student.texts is None or teacher.texts is None:
        return None
    rows = question_rows(split)
    numbers = np.flatnonzero(
        split.table["answers"].combine_chunks().is_valid().take(pa.array(rows))
    )
    references = [list(accepted) for accepted in teacher.texts.accepted]
    return _table(
        split, numbers, rows[numbers], references, student.texts.given, teacher.texts.given
    )


def _table(
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
    return pa.table(columns, schema=_SCHEMA)
