"""The columns of a source under our own names, as the labels of a task need them.

`text` and `text_pair` are strings, the second null where there is none. `label` stays as it
is written in the source; what it is depends on the kind of labels:

- `name`: strings, dictionary-encoded where the source names its classes;
- `names`: lists of such strings; null where a row is not labelled;
- `number`: floats, or strings that are to be numbers;
- `word_names`: lists of such strings, as long as the lists in a further column `words`;
- `choice`: strings that say which of the strings in a further column `choices` is right, or its
  position where they have names; a further column `question` is null where there is none;
- `masked`: null, for the texts are all there is;
- `target_text`: strings that are to be written; null where a row has none;
- `answers`: lists of texts and places, of type `text.answers.ANSWERS`, beside a further column
  `question`; null where a row is not labelled.
"""

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.core.errors import DataError
from pipeline.tasks.task import LabelKind
from pipeline.text.column_settings import ColumnSettings
from pipeline.text.label_column import select_label
from pipeline.text.other_kinds import check_kind
from pipeline.text.source import Source


def select_columns(
    table: pa.Table, columns: ColumnSettings, label_kind: LabelKind, place: str, split: str
) -> pa.Table:
    """Return the columns of one split, as the module describes them.

    Only a test split may lack the label column: its rows are unlabelled then. `place` is what
    messages call the source.

    Raises:
        DataError: a column is missing or holds something else than it should.
    """
    source = Source(table, f"{place} ({split})")
    check_kind(source, columns, label_kind)
    selected: dict[str, pa.ChunkedArray | pa.Array] = {}
    nothing = pa.nulls(len(table), pa.string())
    if label_kind == "word_names":
        words = source.lists("text", columns.text, "words")
        selected["words"] = words
        selected["text"] = pc.binary_join(words, " ")
    else:
        selected["text"] = source.strings("text", columns.text)
    pair = columns.text_pair
    selected["text_pair"] = nothing if pair is None else source.strings("text_pair", pair)
    if label_kind == "choice":
        question = columns.question
        selected["question"] = nothing if question is None else source.strings("question", question)
        selected["choices"] = _choices(source, columns)
    if label_kind == "answers":
        assert columns.question is not None
        selected["question"] = source.strings("question", columns.question)
        _check_questions(selected["question"], source.place)
    selected["label"] = select_label(source, columns, label_kind, may_lack=split == "test")
    if label_kind == "word_names":
        _check_lengths(selected["words"], selected["label"], source.place)
    return pa.table(selected)


def _check_questions(questions: pa.ChunkedArray, place: str) -> None:
    """Refuse a row without a question, where there is nothing else to answer."""
    is_blank = pc.fill_null(pc.equal(pc.utf8_trim_whitespace(questions), ""), True)
    row = is_blank.index(True).as_py()
    if row >= 0:
        raise DataError(f"{place}: row {row + 1} has no question. Add one, or remove the row.")


def _choices(source: Source, columns: ColumnSettings) -> pa.Array:
    """Return the choices of each question; columns may end before the choices of others do."""
    theirs = columns.choices
    assert theirs is not None
    if isinstance(theirs, str):
        rows = source.lists("choices", theirs, "choices").to_pylist()
    else:
        held = [source.strings("choices", column).to_pylist() for column in theirs]
        rows = [_without_end(list(row)) for row in zip(*held, strict=True)]
    for number, row in enumerate(rows, start=1):
        if not row:
            raise DataError(f"{source.place}: the question of row {number} has no choices")
        for choice, text in enumerate(row):
            if text is None or not text.strip():
                raise DataError(
                    f"{source.place}: choice {choice} (from 0) of the question of row {number} "
                    "is empty. Correct it, or remove the row."
                )
    return pa.array(rows, pa.list_(pa.string()))


def _without_end(row: list[str | None]) -> list[str | None]:
    while row and not (row[-1] or "").strip():
        row.pop()
    return row


def _check_lengths(words: pa.ListArray, labels: pa.ListArray, place: str) -> None:
    """Refuse a labelled row whose labels are not as many as its words."""
    differs = pc.not_equal(words.value_lengths(), labels.value_lengths()).fill_null(False)
    row = differs.index(True).as_py()
    if row >= 0:
        n_words, n_labels = len(words[row]), len(labels[row])
        raise DataError(
            f"{place}: row {row + 1} has {n_words} words and {n_labels} labels; each word needs "
            "one. Correct it, or remove the row."
        )
