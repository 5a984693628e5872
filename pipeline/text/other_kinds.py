"""Columns of a source that are those of another kind of task, refused with its name."""

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.tasks.task import LabelKind
from pipeline.text.column_settings import ColumnSettings
from pipeline.text.source import Source, is_list

_ONE_LABEL = "A label for each whole text is read by task.kind: classification."
_LISTS = {
    "text": "Lists of words, with a label for each, are read by task.kind: token_classification.",
    "label": "Lists of labels are read by task.kind: multi_label; where texts are lists of words, "
    "lists of a label for each by token_classification.",
}
_ANSWERS = "Answers and where they stand are read by task.kind: question_answering."
_ANSWER_PARTS = {"text", "answer_start"}
_OTHER_LABELS: frozenset[LabelKind] = frozenset(("answers", "masked", "target_text"))
"""Kinds of labels whose column `label` is not read, or not as labels."""


def check_kind(source: Source, columns: ColumnSettings, label_kind: LabelKind) -> None:
    """Refuse texts and labels of a shape that another kind of task reads.

    Raises:
        DataError: says what a column holds, and which `task.kind` reads that.
    """
    _check(source, "text", columns.text, has_lists=label_kind == "word_names", may_be_one=False)
    if isinstance(columns.label, str) and label_kind not in _OTHER_LABELS:
        has_lists, may_be_one = label_kind in ("word_names", "names"), label_kind == "names"
        _check(source, "label", columns.label, has_lists=has_lists, may_be_one=may_be_one)


def _check(source: Source, ours: str, theirs: str, *, has_lists: bool, may_be_one: bool) -> None:
    if not source.has(theirs):
        return  # which is refused where it is read, if it is needed
    held = source.column(ours, theirs).type
    place = f"{source.place}, column '{theirs}' holds {held}"
    if pa.types.is_struct(held):
        parts = [field.name for field in held]
        hint = f"A part of it is named so: '{theirs}.{parts[0]}'." if parts else ""
        if {*parts} >= _ANSWER_PARTS:
            hint = _ANSWERS
        raise DataError(f"{place}, not text or numbers. {hint}")
    if is_list(held) and not has_lists:
        is_answers = pa.types.is_struct(held.value_type)
        raise DataError(f"{place}, not text or numbers. {_ANSWERS if is_answers else _LISTS[ours]}")
    if has_lists and not may_be_one and not is_list(held) and not pa.types.is_null(held):
        what = "words" if ours == "text" else "labels"
        raise DataError(
            f"{place}, but each row needs a list of {what}. Use Parquet, JSON lines or .conll "
            f"files. {_ONE_LABEL}"
        )
