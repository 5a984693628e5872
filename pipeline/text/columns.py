"""Which columns of a source hold what, and the values of a label column that are no label."""

from typing import Annotated, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, Field

from pipeline.core.settings import Section
from pipeline.text.source import is_named


def _name(column: Any) -> Any:
    """Return the name of a column that is given by its number, as those of .conll files are."""
    is_number = isinstance(column, int) and not isinstance(column, bool)
    return str(column) if is_number else column


_Column = Annotated[str, BeforeValidator(_name)]
_Columns = Annotated[tuple[_Column, ...], Field(min_length=2)]


class ColumnSettings(Section):
    """Which columns of the source hold what. In .conll files they are numbers, from 0.

    A part of a column has the column's name and its own, with a dot between them:
    `translation.en`.
    """

    text: _Column = "text"
    """Texts; lists of words in token classification; what the questions are about in multiple
    choice and question answering."""
    text_pair: _Column | None = None
    """The second text of a pair, or null for single texts."""
    question: _Column | None = None
    """Questions: question answering, and multiple choice where a choice is not a text of its
    own."""
    choices: _Column | _Columns | None = None
    """Multiple choice only: the column with the lists of choices, or a column for each."""
    target: _Column | None = None
    """Sequence to sequence only: the texts to be written; a row may have none."""
    label: _Column | _Columns | None = "label"
    """null for a source without labels. Several columns hold 0 or 1 each (multi-label only).
    Question answering: the answers as SQuAD has them, or their texts. Language models do not
    read it."""
    answer_start: _Column | None = None
    """Question answering only, where answers are plain texts: their first characters' places."""
    label_separator: str = Field(default=",", min_length=1)
    """Between the names in a string, where that is how several labels are written."""
    unlabelled: str | None = None
    """A value of the label column that says that there is no label, such as `"-1"`. Nothing,
    and an empty text, always say so."""


def without_blanks(strings: Any) -> Any:
    """Return strings with null in the place of those that hold nothing but white space."""
    is_blank = pc.equal(pc.utf8_trim_whitespace(strings), "")
    return pc.if_else(is_blank, None, strings)


def without_mark(values: Any, unlabelled: str | None) -> Any:
    """Return values with null in the place of the one that says that there is no label."""
    if unlabelled is None or pa.types.is_null(values.type):
        return values
    mark: Any = unlabelled
    if pa.types.is_floating(values.type):
        mark = as_float(unlabelled)
        if mark is None:
            return values
    compared = values.cast(pa.string()) if is_named(values.type) else values
    return pc.if_else(pc.equal(compared, mark), None, values)


def as_float(text: str | None) -> float | None:
    """Return the number that a text is, if it is one."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
