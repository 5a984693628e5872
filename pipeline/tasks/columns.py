"""Which columns each kind of task reads, and columns of a shape that another kind reads."""

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

from pipeline.core.errors import DataError
from pipeline.text.source import Source, is_list

Lists = Literal["refused", "allowed", "needed"]

_ONE_LABEL = "A label for each whole text is read by task.kind: classification."
_LISTS = {
    "text": "Lists of words, with a label for each, are read by task.kind: token_classification.",
    "label": "Lists of labels are read by task.kind: multi_label; where texts are lists of words, "
    "lists of a label for each by token_classification.",
}
_ANSWERS = "Answers and where they stand are read by task.kind: question_answering."
_ANSWER_PARTS = {"text", "answer_start"}


@dataclass(frozen=True)
class Columns:
    """What a task reads, by the names that columns have in params.yaml."""

    needed: tuple[str, ...]
    optional: tuple[str, ...] = ()
    """Beside columns these are `labels`, where the data names classes, and what is read of a
    column: `label_separator`, `unlabelled`."""
    several: tuple[str, ...] = ()
    """Those that may be several columns."""

    def __contains__(self, name: str) -> bool:
        return name in self.needed or name in self.optional


def check_lists(source: Source, ours: Literal["text", "label"], theirs: str, lists: Lists) -> None:
    """Refuse a column of the shape that another kind of task reads.

    Raises:
        DataError: says what the column holds, and which `task.kind` reads that.
    """
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
    if is_list(held) and lists == "refused":
        is_answers = pa.types.is_struct(held.value_type)
        raise DataError(f"{place}, not text or numbers. {_ANSWERS if is_answers else _LISTS[ours]}")
    if lists == "needed" and not is_list(held) and not pa.types.is_null(held):
        what = "words" if ours == "text" else "labels"
        raise DataError(
            f"{place}, but each row needs a list of {what}. Use Parquet, JSON lines or .conll "
            f"files. {_ONE_LABEL}"
        )
