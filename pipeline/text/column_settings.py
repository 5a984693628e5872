"""Which columns of a source hold what: the part `columns` of the section `data`."""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from pipeline.core.settings import Section


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
    """Of a token classification, the lists of words; of a multiple choice or a question
    answering, what the questions are about."""
    text_pair: _Column | None = None
    """The second text of a pair, or null for single texts."""
    question: _Column | None = None
    """Of a question answering, the questions; of a multiple choice too, if they are not all
    there is to the choices."""
    choices: _Column | _Columns | None = None
    """Of a multiple choice, the column with the lists of choices, or a column for each."""
    target: _Column | None = None
    """Of a sequence to sequence, the texts that are to be written; a row may have none."""
    label: _Column | _Columns | None = "label"
    """null for a source without labels. Several columns hold 0 or 1 each, for a multi-label
    classification. Of a question answering, the answers as SQuAD has them, or their texts. A
    masked LM and a sequence to sequence do not read it."""
    answer_start: _Column | None = None
    """Of a question answering with answers as mere texts, their first characters' places."""
    label_separator: str = Field(default=",", min_length=1)
    """Between the names in a string, where that is how several labels are written."""
    unlabelled: str | None = None
    """A value of the label column that says that there is no label, such as `"-1"`. Nothing,
    and an empty text, always say so."""
